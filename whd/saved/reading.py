"""Reads of what flows saved, in a thread with a connection of its own; any number of processes may read at once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import SaveRefused, StateError, WhdError
from ..sqlite.anchor import Anchor
from ..sqlite.thread import DatabaseThread
from . import database
from .ledger import SavedFile
from .values import check_file_name

FileFound = Callable[[SavedFile | None, StateError | None], None]
NamesFound = Callable[[list[str] | None, StateError | SaveRefused | None], None]
# When it was saved first and last, in ms since 1970.
TimesFound = Callable[[tuple[int, int] | None, StateError | None], None]
ExistsFound = Callable[[bool, WhdError | None], None]


class SavedReading:
    """What is on disk below `state`, which is all that callers know to be saved. The file half of SavedRecords."""

    def __init__(self, state: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = state / database.FILE_NAME
        self._loop = loop
        self._reader: DatabaseThread | None = None
        self._is_closed = True

    def open_reading(self) -> None:
        """Opens the file, which is there. Raises StateError."""
        self._reader = self._start_thread(database.open_reader(self._path), "whd-saved-reader")
        self._is_closed = False

    def _start_thread(self, connection: sqlite3.Connection, name: str, anchor: Anchor | None = None) -> DatabaseThread:
        failed = partial(database.job_failed, path=self._path)
        thread = DatabaseThread(connection, self._loop, name=name, failed=failed, anchor=anchor)
        thread.start()
        return thread

    def stop_reading(self) -> None:
        """Ends the thread, waiting for nothing; for an `open` that fails half-way."""
        self._is_closed = True
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()

    async def close_reading(self) -> None:
        """Does the reads that are queued, then ends the thread. Harmless without `open_reading`."""
        self._is_closed = True
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    def file_get(self, client_name: str, name: str, found: FileFound) -> None:
        """Reads a file: `found(file or None, None)`, or `found(None, error)`."""
        check_file_name(name)
        self._read(partial(database.file, client_name=client_name, name=name), found)

    def file_find(self, client_name: str, name: str, found: ExistsFound) -> None:
        """Whether there is such a file: `found(whether, None)`, or `found(False, error)`."""
        check_file_name(name)
        self._read(
            partial(database.has_file, client_name=client_name, name=name),
            lambda exists, error: found(bool(exists), error),
        )

    def file_times(self, client_name: str, name: str, found: TimesFound) -> None:
        """When a file was saved first and last: `found(times or None, None)`, or `found(None, error)`."""
        check_file_name(name)
        self._read(partial(database.file_times, client_name=client_name, name=name), found)

    def file_list(
        self, client_name: str, found: NamesFound, *, prefix: str = "", is_wanted: Callable[[str], bool] | None = None
    ) -> None:
        """The sorted names of the files that start with `prefix` and that `is_wanted`, in another thread, accepts.

        More than MAX_LISTED are an error, given to `found`.
        """

        def answer(names: list[str] | None, error: StateError | None) -> None:
            if names is None and error is None:
                text = f"more than {database.MAX_LISTED} files match; ask for fewer at once"
                found(None, SaveRefused("CloudomationException", text))
            else:
                found(names, error)

        wanted = is_wanted or (lambda name: True)
        self._read(partial(database.file_names, client_name=client_name, prefix=prefix, is_wanted=wanted), answer)

    def _read(self, job: Callable[[sqlite3.Connection], object], answer: Callable[..., None]) -> None:
        self._check_open()
        assert self._reader is not None
        self._reader.submit(job, answer)

    def _check_open(self) -> None:
        if self._is_closed:
            raise SaveRefused("CloudomationException", f"{database.WHAT} is closed")
