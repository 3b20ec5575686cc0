"""What leaves the store: ended executions past their age or past the size, the oldest first, in small slices.

Runs in the writer thread between two commits. Each slice is one short transaction; who walks through `sweep`
decides when the next one may run.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..sqlite.transaction import transaction
from .encoding import ENDED_CODES
from .rows import first_id

_log = logging.getLogger(__name__)

# Each slice rewrites about a page of the index per origin: many rows to a slice share them. Takes about 10 ms.
SLICE_ROWS = 512
# Freeing a large value walks its chain of pages, so a slice is bounded by what it frees, too.
SLICE_BYTES = 8 * 1024 * 1024
SLICE_PAGES = 64
# What a record takes beside its payload: the other columns and two index entries.
_ROW_BYTES = 200

_MIB = 1024 * 1024
_DELETE = (
    f"DELETE FROM execution WHERE id > ? AND id <= ? AND ended_ms < ? AND status IN ({','.join(map(str, ENDED_CODES))})"
)

_DELETE_DELIVERIES = (
    "DELETE FROM delivery WHERE (key, body) IN "
    "(SELECT key, body FROM delivery WHERE until_ms <= ? ORDER BY until_ms LIMIT ?)"
)


class Retention:
    """Keeps the store below its age and its size. Ended executions go; what is PENDING or RUNNING never does."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self.page_bytes = _number(connection, "page_size")
        self._was_warned = False
        # Origins that were removed, for the writer to forget; it empties the list.
        self.removed_origins: list[int] = []

    @property
    def file_bytes(self) -> int:
        """The store on disk, the WAL included."""
        return _size_bytes(self._path) + self.wal_bytes

    @property
    def wal_bytes(self) -> int:
        """The WAL file, whether what it holds was copied already or not."""
        return _size_bytes(self._wal)

    def truncate_wal(self) -> None:
        """Makes the WAL an empty file, if no reader uses it just now."""
        (waiting_ms,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
        self._connection.execute("PRAGMA busy_timeout=0")
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self._connection.execute(f"PRAGMA busy_timeout={waiting_ms}")

    @property
    def _used_bytes(self) -> int:
        """The file without its free pages."""
        pages = _number(self._connection, "page_count") - _number(self._connection, "freelist_count")
        return pages * self.page_bytes

    def is_above(self, max_store_bytes: int) -> bool:
        """Whether the size asks for a sweep now. Cheap: no table is read."""
        return _number(self._connection, "page_count") * self.page_bytes > _target(max_store_bytes)

    def sweep(self, *, now_ms: int, retention_minutes: float, max_store_bytes: int) -> Iterator[None]:
        """One round over all that is due; yields after each slice. Raises sqlite3.Error."""
        oldest_ms = now_ms - int(retention_minutes * 60_000)
        for _ in self._delete(ended_before_ms=oldest_ms):
            yield
        while self._connection.execute(_DELETE_DELIVERIES, (now_ms, SLICE_ROWS)).rowcount > 0:
            yield
        yield from self._shrink(now_ms, max_store_bytes)
        while self._give_back(max_store_bytes):
            yield

    def _shrink(self, now_ms: int, max_store_bytes: int) -> Iterator[None]:
        target = _target(max_store_bytes)
        if self._used_bytes <= target:
            self._was_warned = False
            return

        # Down to nine tenths, so that the next record does not ask for the next round. A minute ahead: the clock may
        # have been set back since.
        def excess() -> int:
            return self._used_bytes - target * 9 // 10

        for _ in self._delete(ended_before_ms=now_ms + 60_000, most_bytes=excess):
            if excess() <= 0:
                return
            yield
        if self._used_bytes > target and not self._was_warned:
            self._was_warned = True
            _log.warning(
                "the execution store needs %d bytes, but max_store_bytes is %d: what is left has not ended yet",
                self._used_bytes,
                max_store_bytes,
            )

    def _delete(self, *, ended_before_ms: int, most_bytes: Callable[[], int] = lambda: SLICE_BYTES) -> Iterator[None]:
        """Removes what ended before that moment, the oldest first; yields after each slice.

        A slice ends with the row that makes it free `most_bytes`.
        """
        # Nothing ends before it was made, and ids sort by that moment: all of it lies before this id.
        cursor, before = b"", first_id(ended_before_ms)
        while True:
            found = self._connection.execute(
                "SELECT id, origin, status, ended_ms, length(input_json) + length(output_json) + length(log) "
                "FROM execution WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
                (cursor, before, SLICE_ROWS),
            ).fetchall()
            if not found:
                return
            start, origins, freed = cursor, set(), 0
            most = min(most_bytes(), SLICE_BYTES)
            for raw_id, origin, status, ended_ms, size in found:
                cursor = raw_id
                if status in ENDED_CODES and ended_ms < ended_before_ms:
                    origins.add(origin)
                    freed += self._taken_bytes(size + _ROW_BYTES)
                    if freed >= most:
                        break
            if origins:
                # One statement for the slice, with the same condition: each is a wait for the interpreter's lock.
                with transaction(self._connection):
                    self._connection.execute(_DELETE, (start, cursor, ended_before_ms))
                    gone = [origin for origin in origins if self._remove_origin(origin)]
                self.removed_origins += gone
            yield

    def _taken_bytes(self, row_bytes: int) -> int:
        """What a row of that size takes of the file: pages of its own, or a share of one."""
        page_bytes = self.page_bytes
        if row_bytes > page_bytes:
            return -(-row_bytes // page_bytes) * page_bytes
        return page_bytes // (page_bytes // row_bytes)

    def _remove_origin(self, origin: int) -> bool:
        """Removes an origin that no execution names any more, and its script with the last origin of that version."""
        execute = self._connection.execute
        if execute("SELECT 1 FROM execution WHERE origin = ? LIMIT 1", (origin,)).fetchone():
            return False
        (script,) = execute("SELECT script FROM origin WHERE id = ?", (origin,)).fetchone()
        execute("DELETE FROM origin WHERE id = ?", (origin,))
        if not execute("SELECT 1 FROM origin WHERE script = ? LIMIT 1", (script,)).fetchone():
            execute("DELETE FROM script WHERE id = ?", (script,))
        return True

    def _give_back(self, max_store_bytes: int) -> bool:
        """Shrinks the file where it is too large or mostly air; a little air is kept for the records to come."""
        pages = _number(self._connection, "page_count")
        free = _number(self._connection, "freelist_count")
        is_airy = free * 4 > pages and free * self.page_bytes > 4 * _MIB
        if not free or not (is_airy or pages * self.page_bytes > _target(max_store_bytes)):
            return False
        # One page to a row of the result: without fetchall it would stop after the first.
        self._connection.execute(f"PRAGMA incremental_vacuum({SLICE_PAGES})").fetchall()
        return True


def wal_limit_bytes(max_store_bytes: int) -> int:
    """How large the WAL may grow before it is copied into the file; part of what max_store_bytes allows."""
    return min(max(max_store_bytes // 16, 64 * 1024), 16 * _MIB)


def now_ms() -> int:
    """The wall clock, as records have it."""
    return time.time_ns() // 1_000_000


def _target(max_store_bytes: int) -> int:
    return max_store_bytes - 2 * wal_limit_bytes(max_store_bytes)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # deleted or moved away under the daemon, which the writer says


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)
