"""What flows save, in memory: nothing is ever on a disk, and no webhook among the settings has bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from whd.errors import SaveRefused, StateError
from whd.saved import SavedDone, SavedFile
from whd.saved.reading import ExistsFound, FileFound, NamesFound, TimesFound
from whd.saved.values import check_file_name, file_bytes, read_value
from whd.settings.saved import check_name
from whd.settings.tree import WEBHOOK_PREFIX


class FakeSaved:
    """SavedRecords. `settings`, `files`: by client and name; `fault`: why nothing can be read or written now."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.settings: dict[tuple[str, str], Any] = {}
        self.files: dict[tuple[str, str], SavedFile] = {}
        self.savers: list[str] = []
        self.fault = ""
        self.is_detached = False

    def setting_save(self, client_name: str, name: str, value_json: bytes, saver: str, done: SavedDone) -> None:
        check_name(name)
        value, _kept = read_value(value_json, is_webhook=name.startswith(WEBHOOK_PREFIX))
        self._write(done, lambda: self.settings.update({(client_name, name): value}), saver)

    def setting_delete(self, client_name: str, name: str, done: SavedDone) -> None:
        check_name(name)
        if (client_name, name) not in self.settings:
            raise SaveRefused("ResourceNotFoundError", f"no value is saved for the setting {name!r}")
        self._write(done, lambda: self.settings.pop((client_name, name)))

    def setting_list_append(self, client_name: str, name: str, item_json: bytes, saver: str, done: SavedDone) -> None:
        check_name(name)
        item, _kept = read_value(item_json, is_webhook=name.startswith(WEBHOOK_PREFIX))
        if (client_name, name) not in self.settings:
            raise SaveRefused("ResourceNotFoundError", f"there is no setting {name!r}; save a list first")
        self._write(done, lambda: self.settings[client_name, name].append(item), saver)

    def file_save(
        self, client_name: str, name: str, content: bytes | str, saver: str, done: SavedDone, *, is_text: bool = False
    ) -> None:
        check_file_name(name)
        file = SavedFile(client_name, name, file_bytes(name, content), is_text or isinstance(content, str), saver, 1)
        self._write(done, lambda: self.files.update({(client_name, name): file}), saver)

    def file_get(self, client_name: str, name: str, found: FileFound) -> None:
        check_file_name(name)
        error = self._error()
        self._loop.call_soon(found, None if error else self.files.get((client_name, name)), error)

    def file_find(self, client_name: str, name: str, found: ExistsFound) -> None:
        check_file_name(name)
        error = self._error()
        self._loop.call_soon(found, error is None and (client_name, name) in self.files, error)

    def file_times(self, client_name: str, name: str, found: TimesFound) -> None:
        check_file_name(name)
        error = self._error()
        file = self.files.get((client_name, name))
        self._loop.call_soon(found, None if error or file is None else (file.saved_ms, file.saved_ms), error)

    def file_delete(self, client_name: str, name: str, done: SavedDone) -> None:
        check_file_name(name)
        if (client_name, name) not in self.files:
            raise SaveRefused("ResourceNotFoundError", f"there is no file {name!r}")
        self._write(done, lambda: self.files.pop((client_name, name)))

    def file_list(
        self, client_name: str, found: NamesFound, *, prefix: str = "", is_wanted: Callable[[str], bool] | None = None
    ) -> None:
        error = self._error()
        names = sorted(
            name
            for client, name in self.files
            if client == client_name and name.startswith(prefix) and (is_wanted is None or is_wanted(name))
        )
        self._loop.call_soon(found, None if error else names, error)

    def _write(self, done: SavedDone, change: Callable[[], object], saver: str = "") -> None:
        error = self._error()
        if error is None:
            change()
            self.savers.append(saver)
        self._loop.call_soon(done, error)

    def _error(self) -> StateError | None:
        return StateError("what flows save cannot be kept", log_detail=self.fault) if self.fault else None
