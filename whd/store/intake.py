"""What waits to be written: filled on the loop, emptied by the writer thread, read by both.

The lock is held for a few dictionary steps only, never over I/O, so that the loop never waits for the disk.
"""

from __future__ import annotations

import queue
import threading
import time

from .interface import Done
from .rows import Row

# Waiting records beyond this are written at once, ahead of their time.
EARLY_BYTES = 4 * 1024 * 1024
# From here on callers with much are answered late (`when_room`), so that they bring the next no sooner than the disk
# takes it.
BEHIND_BYTES = 32 * 1024 * 1024
# From here on the daemon should refuse new calls (`is_full`); a disk that keeps up never lets it come to that.
FULL_BYTES = 128 * 1024 * 1024
# What is running when the store is full still ends and is still kept; only past this are records given up.
LIMIT_BYTES = 512 * 1024 * 1024


class Batch:
    """Records and scripts for one commit, and who waits for it: (the record, None for a flush; what to call)."""

    __slots__ = ("rows", "scripts", "size_bytes", "waiters")

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.scripts: dict[str, str] = {}
        self.waiters: list[tuple[Row | None, Done]] = []
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self.rows or self.waiters)


class Intake:
    """One batch that gathers, and one that is being written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gathering = Batch()
        self._writing = Batch()
        # True: write now; False: something waits, write it in time. SimpleQueue is C: a put costs 0.05 µs.
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.is_closed = False
        self.refused = 0

    def put(self, row: Row, script: str | None) -> bool:
        """Takes a record that may wait a little. False: there is no room, it was not taken (counted in `refused`)."""
        # Every sync call pays for this: `with` would cost 0.1 µs more than both methods (CPython 3.11 to 3.13).
        self._lock.acquire()
        try:
            batch = self._gathering
            size = batch.size_bytes
            if size + self._writing.size_bytes > LIMIT_BYTES:
                self.refused += 1
                return False
            new_size = size + row.size_bytes
            earlier = batch.rows.setdefault(row.id, row)
            if earlier is not row:
                batch.rows[row.id] = row
                new_size -= earlier.size_bytes
            batch.size_bytes = new_size
            if script is not None:
                batch.scripts[row.script_hash] = script
        finally:
            self._lock.release()
        if not size:
            self._bell.put(False)
        if size < EARLY_BYTES <= new_size:
            self._bell.put(True)
        return True

    def put_urgent(self, row: Row | None, script: str | None, done: Done) -> None:
        """Takes a record that somebody waits for, or (None) somebody who waits for all that was put before."""
        with self._lock:
            batch = self._gathering
            if row is not None:
                earlier = batch.rows.get(row.id)
                batch.rows[row.id] = row
                batch.size_bytes += row.size_bytes - (earlier.size_bytes if earlier else 0)
                if script is not None:
                    batch.scripts[row.script_hash] = script
            is_first = not batch.waiters
            batch.waiters.append((row, done))
        if is_first:
            self._bell.put(True)

    def find(self, execution_id: str) -> tuple[Row, str | None] | None:
        """The newest unwritten version of a record and its script, as far as it is here."""
        with self._lock:
            row = self._gathering.rows.get(execution_id) or self._writing.rows.get(execution_id)
            if row is None:
                return None
            script_hash = row.script_hash
            return row, self._gathering.scripts.get(script_hash) or self._writing.scripts.get(script_hash)

    def wait(self, timeout_s: float, gather_s: float) -> None:
        """For the writer: sleeps until something must be written, at most `timeout_s`.

        A record that may wait is given `gather_s` for others to join it.
        """
        try:
            if self._bell.get(timeout=timeout_s):
                return
            end = time.monotonic() + gather_s
            while (left := end - time.monotonic()) > 0:
                if self._bell.get(timeout=left):
                    return
        except queue.Empty:
            return

    def take(self) -> Batch:
        """For the writer: all that waits, together with what an earlier attempt could not write."""
        with self._lock:
            new, self._gathering = self._gathering, Batch()
            batch = self._writing
            if not batch:
                self._writing = batch = new
            elif new:
                # Not `update` alone: a record that is written anew counts once.
                replaced = batch.rows.keys() & new.rows.keys()
                batch.size_bytes += new.size_bytes - sum(batch.rows[key].size_bytes for key in replaced)
                batch.rows.update(new.rows)
                batch.scripts.update(new.scripts)
                batch.waiters += new.waiters
            return batch

    def written(self) -> None:
        """For the writer: what `take` gave last is on disk, or given up."""
        with self._lock:
            self._writing = Batch()

    def hold(self, batch: Batch) -> None:
        """For the writer: `batch` could not be written. Its waiters leave, with the records they waited for.

        A later version of such a record stays: nobody waits for it.
        """
        with self._lock:
            for row, _ in batch.waiters:
                if row is not None and batch.rows.get(row.id) is row:
                    del batch.rows[row.id]
                    batch.size_bytes -= row.size_bytes
            batch.waiters = []

    def close(self) -> None:
        """Wakes the writer for the last time; what is put afterwards is not written."""
        with self._lock:
            self.is_closed = True
        self._bell.put(True)

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for the next commit."""
        return bool(self._gathering.waiters)

    @property
    def waiting(self) -> int:
        """Records that are not on disk yet."""
        return len(self._gathering.rows) + len(self._writing.rows)

    @property
    def waiting_bytes(self) -> int:
        """Their size, estimated."""
        return self._gathering.size_bytes + self._writing.size_bytes
