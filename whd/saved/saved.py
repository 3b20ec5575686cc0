"""What flows save, as the daemon uses it: look-ups at once, changes durable and live before their callback.

Everything is called on the loop and calls back there. Changes that come while a commit runs share the next one (group
commit). After the commit the settings go into the snapshot, then the callbacks are called: once a caller knows that
something is saved, it finds it, and so does the next request. What may be saved is decided here and at once; who may
save it, by the caller (auth/permissions), but for the bounds of webhooks.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..errors import SaveRefused, StateError, WhdError
from ..model.options import Options
from ..model.snapshot import SavedSetting, Setting
from ..settings.overlay import SavedChange
from ..settings.saved import check_name
from ..settings.tree import WEBHOOK_PREFIX
from ..sqlite import file as sqlite_file
from ..sqlite.anchor import LOOK_S, Anchor
from ..sqlite.thread import DatabaseThread
from . import database
from .ledger import FILE, SETTING, Ledger, LedgerBatch, SavedFile
from .reading import ExistsFound, FileFound, NamesFound, SavedReading, TimesFound
from .values import appended, check_file_name, file_bytes, read_value, write_value

_log = logging.getLogger(__name__)

# Called with None once a power cut cannot undo the change, else with why it is not kept: StateError; or SaveRefused or
# PermissionDenied, where that was not known before.
SavedDone = Callable[[WhdError | None], None]


class SavedOverlay(Protocol):
    """Where saved settings go to be live: the Reloader."""

    def take_saved(self, changes: Iterable[SavedChange]) -> None:
        """Makes them live at once."""

    def file_setting(self, client_name: str, name: str) -> Setting | None:
        """The operator's setting of that name."""

    def check_saved_webhook(self, record: SavedSetting) -> None:
        """Raises PermissionDenied past a webhook's bounds, SaveRefused for what no webhook's file could hold."""


class SavedRecords(Protocol):
    """What flows' calls and commands may do with what is saved.

    `fault`: why nothing can be kept now, "" if all is well; `is_detached`: it can be again only after a restart.

    Methods that change something raise SaveRefused (its `kind` names the flow_api error) or, for webhooks past their
    bounds, PermissionDenied, and then call nothing; else `done` is called once.
    """

    fault: str
    is_detached: bool

    def setting_save(self, client_name: str, name: str, value_json: bytes, saver: str, done: SavedDone) -> None:
        """Saves a value, as JSON, before the operator's or an earlier one. `saver`: a user, or snapshot.OPERATOR."""

    def setting_delete(self, client_name: str, name: str, done: SavedDone) -> None:
        """Deletes what was saved; the operator's value, if there is one, stands again."""

    def setting_list_append(self, client_name: str, name: str, item_json: bytes, saver: str, done: SavedDone) -> None:
        """Saves the present list, the operator's if none is saved, with one item more. No two callers lose an item."""

    def file_save(
        self, client_name: str, name: str, content: bytes | str, saver: str, done: SavedDone, *, is_text: bool = False
    ) -> None:
        """Saves a file, in place of an earlier one of that name. `is_text`: the bytes are meant as UTF-8."""

    def file_get(self, client_name: str, name: str, found: FileFound) -> None:
        """Reads a file: `found(file or None, None)`, or `found(None, error)`. Raises SaveRefused for a bad name."""

    def file_find(self, client_name: str, name: str, found: ExistsFound) -> None:
        """Whether a file exists: `found(whether, None)` or `found(False, error)`. Raises SaveRefused for a bad name."""

    def file_times(self, client_name: str, name: str, found: TimesFound) -> None:
        """When a file was saved first and last: `found(times or None, None)`, or `found(None, error)`.

        Raises SaveRefused for a bad name.
        """

    def file_delete(self, client_name: str, name: str, done: SavedDone) -> None:
        """Deletes a file."""

    def file_list(
        self, client_name: str, found: NamesFound, *, prefix: str = "", is_wanted: Callable[[str], bool] | None = None
    ) -> None:
        """The sorted names of the files that start with `prefix` and that `is_wanted`, in another thread, accepts.

        More than database.MAX_LISTED are an error, given to `found`.
        """


class Saved(SavedReading, SavedRecords):
    """Settings and files that flows saved, by client.

    The maker calls `open` once, and `close` at the end. `options` gives the current ones.
    """

    def __init__(
        self, state: Path, loop: asyncio.AbstractEventLoop, options: Callable[[], Options], overlay: SavedOverlay
    ) -> None:
        super().__init__(state, loop)
        self.fault = ""
        self.is_detached = False
        self._anchor: Anchor
        self._looks: asyncio.TimerHandle | None = None
        self._options = options
        self._overlay = overlay
        self._ledger = Ledger()
        self._writer: DatabaseThread | None = None
        # The callbacks that wait for the batch that is being written, and for the open one.
        self._flying: list[SavedDone] = []
        self._waiting: list[SavedDone] = []
        self._idle: asyncio.Future[None] | None = None

    def open(self) -> None:
        """Opens the file, makes it or brings it to this version, and makes what it holds live. Raises StateError."""
        connection = database.open_database(self._path)
        try:
            self._load(connection)
            self._anchor = Anchor(self._path)
            self.open_reading()
            self._writer = self._start_thread(connection, "whd-saved-writer", self._anchor)
        except BaseException:
            connection.close()
            self.stop_reading()
            raise
        self._looks = self._loop.call_later(LOOK_S, self._look)
        self._overlay.take_saved((record.client_name, record.name, record) for record in self._ledger.settings())

    def _load(self, connection: sqlite3.Connection) -> None:
        try:
            for record in database.settings(connection, self._path):
                self._ledger.load_setting(record)
            for client_name, name, size_bytes in database.file_sizes(connection):
                self._ledger.load_file(client_name, name, size_bytes)
        except sqlite3.Error as error:
            raise StateError(sqlite_file.describe(error, self._path, database.WHAT)) from error

    async def close(self) -> None:
        """Waits for what is being written, then ends both threads. Harmless twice, or without `open`."""
        if self._is_closed or self._writer is None:
            return
        self._is_closed = True
        if self._looks is not None:
            self._looks.cancel()
        if self._flying or self._waiting:
            self._idle = self._loop.create_future()
            await self._idle
        await self.close_reading()
        await self._writer.close()

    # ---- settings ----------------------------------------------------------------------------------------------------

    def setting(self, client_name: str, name: str) -> SavedSetting | None:
        """What is saved under the name, at once."""
        return self._ledger.setting(client_name, name)

    def settings(self) -> Iterator[SavedSetting]:
        """All that is saved."""
        return self._ledger.settings()

    def size_bytes(self, client_name: str) -> int:
        """What counts against max_saved_bytes."""
        return self._ledger.size_bytes(client_name)

    def setting_save(self, client_name: str, name: str, value_json: bytes, saver: str, done: SavedDone) -> None:
        check_name(name)
        value, kept = read_value(value_json, is_webhook=name.startswith(WEBHOOK_PREFIX))
        present = self._ledger.coming_setting(client_name, name)
        self._put_setting(_saved_now(client_name, name, value, kept, saver, present), done)

    def setting_delete(self, client_name: str, name: str, done: SavedDone) -> None:
        check_name(name)
        self._check_open()
        if not self._ledger.is_coming((SETTING, client_name, name)):
            has_file = self._overlay.file_setting(client_name, name) is not None
            why = (
                "the operator's file stands, which only an operator deletes" if has_file else "there is no such setting"
            )
            raise SaveRefused("ResourceNotFoundError", f"no value is saved for the setting {name!r}: {why}")
        self._ledger.drop((SETTING, client_name, name))
        self._wait(done)

    def setting_list_append(self, client_name: str, name: str, item_json: bytes, saver: str, done: SavedDone) -> None:
        check_name(name)
        item, kept = read_value(item_json, is_webhook=name.startswith(WEBHOOK_PREFIX))
        present = self._ledger.coming_setting(client_name, name)
        if present is not None:
            value, value_json = present.value, present.value_json
        else:
            setting = self._overlay.file_setting(client_name, name)
            if setting is None:
                raise SaveRefused("ResourceNotFoundError", f"there is no setting {name!r}; save a list first")
            value = setting.value
            value_json = write_value(value) if type(value) is list else b""
        value, kept = appended(value, value_json, item, kept)
        self._put_setting(_saved_now(client_name, name, value, kept, saver, present), done)

    def _put_setting(self, record: SavedSetting, done: SavedDone) -> None:
        self._check_open()
        if record.name.startswith(WEBHOOK_PREFIX):
            self._overlay.check_saved_webhook(record)
        self._ledger.put(record, self._options().max_saved_bytes)
        self._wait(done)

    # ---- files -------------------------------------------------------------------------------------------------------

    def file_save(
        self, client_name: str, name: str, content: bytes | str, saver: str, done: SavedDone, *, is_text: bool = False
    ) -> None:
        check_file_name(name)
        self._check_open()
        is_text = is_text or isinstance(content, str)
        record = SavedFile(client_name, name, file_bytes(name, content), is_text, saver, _now_ms())
        self._ledger.put(record, self._options().max_saved_bytes)
        self._wait(done)

    def file_exists(self, client_name: str, name: str) -> bool:
        """Whether a file is saved, at once. Raises SaveRefused for what is no file's name."""
        check_file_name(name)
        return self._ledger.has_file(client_name, name)

    def file_find(self, client_name: str, name: str, found: ExistsFound) -> None:
        found(self.file_exists(client_name, name), None)

    def file_delete(self, client_name: str, name: str, done: SavedDone) -> None:
        check_file_name(name)
        self._check_open()
        if not self._ledger.is_coming((FILE, client_name, name)):
            raise SaveRefused("ResourceNotFoundError", f"there is no file {name!r}")
        self._ledger.drop((FILE, client_name, name))
        self._wait(done)

    # ---- to the disk -------------------------------------------------------------------------------------------------

    def _wait(self, done: SavedDone) -> None:
        """Has the open batch, in which something was put just now, written as soon as may be."""
        self._waiting.append(done)
        if len(self._waiting) == 1 and not self._flying:
            # Not at once: other changes of this turn of the loop go along.
            self._loop.call_soon(self._fly)

    def _fly(self) -> None:
        batch = self._ledger.take()
        if batch is None or self._writer is None:
            return
        self._flying, self._waiting = self._waiting, []
        self._writer.submit(partial(database.write, batch=batch, anchor=self._anchor), self._landed)

    def _look(self) -> None:
        """Looks, also while nothing is saved, whether the file still stands where it was opened."""
        if self._writer is not None and not self._is_closed:
            self._writer.submit(lambda _connection: database.check_anchor(self._anchor), self._looked)

    def _looked(self, _result: None, error: StateError | None) -> None:
        if error is not None:
            self._note_fault(error)
        elif self.is_detached:
            _log.info("what flows save can be kept again")
            self.is_detached, self.fault = False, ""
        if not self._is_closed:
            self._looks = self._loop.call_later(LOOK_S, self._look)

    def _note_fault(self, error: StateError) -> None:
        if self.fault != error.log_detail:
            _log.error("%s; nothing that flows save is kept until this is over", error.log_detail)
        self.fault = error.log_detail
        self.is_detached = isinstance(error, database.Detached)

    def _landed(self, _result: None, error: StateError | None) -> None:
        waited, self._flying = self._flying, []
        if error is None:
            self.fault, self.is_detached = "", False
            self._make_live(self._ledger.commit())
        else:
            self._note_fault(error)
            # What came meanwhile may build on what failed.
            waited, self._waiting = waited + self._waiting, []
            self._ledger.roll_back()
        self._fly()
        for done in waited:
            try:
                done(error)
            except Exception:
                _log.exception("a caller failed when told of the end of what it saved")
        if self._idle is not None and not self._flying and not self._idle.done():
            self._idle.set_result(None)

    def _make_live(self, batch: LedgerBatch) -> None:
        changes: list[SavedChange] = [
            (client_name, name, record if isinstance(record, SavedSetting) else None)
            for (kind, client_name, name), record in batch.records()
            if kind == SETTING
        ]
        if not changes:
            return
        try:
            self._overlay.take_saved(changes)
        except Exception:
            # A defect of whd: what was saved is saved, and its callers must not wait for ever.
            _log.exception("what flows saved is on disk, but could not be made live")


def _saved_now(
    client_name: str, name: str, value: Any, value_json: bytes, saver: str, present: SavedSetting | None
) -> SavedSetting:
    now_ms = _now_ms()
    created_ms = now_ms if present is None else present.created_ms
    return SavedSetting(client_name, name, value, value_json, saver, now_ms, created_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
