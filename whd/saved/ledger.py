"""What is saved, what is on its way to the disk, and what room is left: the bookkeeping, without I/O.

Changes gather in an open batch. `take` hands it out for writing, `commit` makes it part of what is saved, `roll_back`
gives up all that is not yet saved: what came after a batch that failed may build on it. One batch is written at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ..errors import SaveRefused
from ..model.snapshot import SavedSetting

# Beside max_saved_bytes: each record costs memory too, however small it is.
LEAST_RECORDS: Final = 1_000
BYTES_PER_RECORD: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class SavedFile:
    """A file that a flow saved. `is_text`: `content` was saved as text, in UTF-8. `saved_ms`: since 1970.

    When it was saved first stands in the database alone: `database.file_times`.
    """

    client_name: str
    name: str
    content: bytes
    is_text: bool
    saver: str
    saved_ms: int


SavedRecord = SavedSetting | SavedFile
# "setting" or "file", client, name.
RecordKey = tuple[str, str, str]
SETTING: Final = "setting"
FILE: Final = "file"


@dataclass(slots=True)
class _Usage:
    size_bytes: int = 0
    records: int = 0


@dataclass(slots=True)
class _Change:
    """`record`: None for a deletion. The other two: what it adds to the client's usage."""

    record: SavedRecord | None
    added_bytes: int
    added_records: int


class LedgerBatch:
    """Changes that become durable together: the last of each record."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes: dict[RecordKey, _Change] = {}

    def __bool__(self) -> bool:
        return bool(self.changes)

    def records(self) -> Iterator[tuple[RecordKey, SavedRecord | None]]:
        """What is to stand under each key; None: nothing."""
        return ((key, change.record) for key, change in self.changes.items())


@dataclass(slots=True)
class _Client:
    settings: dict[str, SavedSetting] = field(default_factory=dict)
    file_sizes: dict[str, int] = field(default_factory=dict)
    saved: _Usage = field(default_factory=_Usage)
    # With all that is on its way.
    coming: _Usage = field(default_factory=_Usage)


class Ledger:
    """By client: settings with their values, files with their sizes. What `setting` and `has_file` give is durable."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._open = LedgerBatch()
        self._flying: LedgerBatch | None = None

    def load_setting(self, record: SavedSetting) -> None:
        """Takes a setting that is on disk already."""
        client = self._client(record.client_name)
        client.settings[record.name] = record
        self._count(client, _size(record))

    def load_file(self, client_name: str, name: str, content_bytes: int) -> None:
        """Takes a file that is on disk already."""
        client = self._client(client_name)
        client.file_sizes[name] = content_bytes
        self._count(client, len(name.encode()) + content_bytes)

    def setting(self, client_name: str, name: str) -> SavedSetting | None:
        """A setting that is saved."""
        client = self._clients.get(client_name)
        return None if client is None else client.settings.get(name)

    def settings(self) -> Iterator[SavedSetting]:
        """All settings that are saved."""
        return (record for client in self._clients.values() for record in client.settings.values())

    def has_file(self, client_name: str, name: str) -> bool:
        """Whether a file is saved."""
        client = self._clients.get(client_name)
        return client is not None and name in client.file_sizes

    def size_bytes(self, client_name: str) -> int:
        """What counts against max_saved_bytes."""
        client = self._clients.get(client_name)
        return 0 if client is None else client.saved.size_bytes

    def coming_setting(self, client_name: str, name: str) -> SavedSetting | None:
        """A setting with all that is on its way to it: what the next change builds on."""
        key = (SETTING, client_name, name)
        for batch in (self._open, self._flying):
            if batch is not None and (change := batch.changes.get(key)) is not None:
                record = change.record
                return record if isinstance(record, SavedSetting) else None
        return self.setting(client_name, name)

    def is_coming(self, key: RecordKey) -> bool:
        """Whether a record will be there once all that is on its way has come."""
        return self._coming_size(key) is not None

    def put(self, record: SavedRecord, max_saved_bytes: int) -> None:
        """Adds to the open batch. Raises SaveRefused, naming the limit."""
        key = (SETTING if isinstance(record, SavedSetting) else FILE, record.client_name, record.name)
        self._change(key, record, _size(record), max_saved_bytes)

    def drop(self, key: RecordKey) -> None:
        """Adds a deletion to the open batch."""
        self._change(key, None, None, 0)

    def take(self) -> LedgerBatch | None:
        """The open batch, for writing; None if it is empty or another is still being written."""
        if self._flying is not None or not self._open:
            return None
        self._flying, self._open = self._open, LedgerBatch()
        return self._flying

    def commit(self) -> LedgerBatch:
        """The batch that `take` gave is on disk."""
        batch = self._flying
        assert batch is not None
        self._flying = None
        for (kind, client_name, name), change in batch.changes.items():
            client = self._client(client_name)
            client.saved.size_bytes += change.added_bytes
            client.saved.records += change.added_records
            record = change.record
            if isinstance(record, SavedSetting):
                client.settings[name] = record
            elif isinstance(record, SavedFile):
                client.file_sizes[name] = len(record.content)
            elif kind == SETTING:
                client.settings.pop(name, None)
            else:
                client.file_sizes.pop(name, None)
        return batch

    def roll_back(self) -> None:
        """The batch that `take` gave could not be written: forgets it, and all that was added since."""
        self._flying, self._open = None, LedgerBatch()
        for client in self._clients.values():
            client.coming = _Usage(client.saved.size_bytes, client.saved.records)

    def _client(self, name: str) -> _Client:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client()
        return client

    def _count(self, client: _Client, size_bytes: int) -> None:
        for usage in (client.saved, client.coming):
            usage.size_bytes += size_bytes
            usage.records += 1

    def _change(self, key: RecordKey, record: SavedRecord | None, size_bytes: int | None, max_saved_bytes: int) -> None:
        client = self._client(key[1])
        before = self._coming_size(key)
        added_bytes = (size_bytes or 0) - (before or 0)
        added_records = (size_bytes is not None) - (before is not None)
        # What needs less is always let through: it is the way out.
        if added_bytes > 0 or added_records > 0:
            _check_room(client.coming, key[1], added_bytes, added_records, max_saved_bytes)
        client.coming.size_bytes += added_bytes
        client.coming.records += added_records
        waiting = self._open.changes.get(key)
        if waiting is not None:
            added_bytes += waiting.added_bytes
            added_records += waiting.added_records
        self._open.changes[key] = _Change(record, added_bytes, added_records)

    def _coming_size(self, key: RecordKey) -> int | None:
        for batch in (self._open, self._flying):
            if batch is not None and (change := batch.changes.get(key)) is not None:
                return None if change.record is None else _size(change.record)
        kind, client_name, name = key
        client = self._client(client_name)
        if kind == SETTING:
            record = client.settings.get(name)
            return None if record is None else _size(record)
        size = client.file_sizes.get(name)
        return None if size is None else len(name.encode()) + size


def _size(record: SavedRecord) -> int:
    content = record.value_json if isinstance(record, SavedSetting) else record.content
    return len(record.name.encode()) + len(content)


def _check_room(usage: _Usage, client_name: str, added_bytes: int, added_records: int, max_saved_bytes: int) -> None:
    if usage.size_bytes + added_bytes > max_saved_bytes:
        raise SaveRefused(
            "CloudomationException",
            f"max_saved_bytes: settings and files that flows of {client_name} saved may take {max_saved_bytes} bytes "
            f"in all; {usage.size_bytes} are taken, and this would add {added_bytes}",
        )
    max_records = max(LEAST_RECORDS, max_saved_bytes // BYTES_PER_RECORD)
    if usage.records + added_records > max_records:
        raise SaveRefused(
            "CloudomationException",
            f"max_saved_bytes: with {max_saved_bytes} bytes for them, flows of {client_name} may save at most "
            f"{max_records} settings and files",
        )
