"""The one thread that writes the store: a commit for all that gathered, then answers to those who wait, then upkeep.

While a commit runs, the next batch gathers (group commit). The loop is woken once per commit, and only if somebody
waits. A write that fails is tried again until it works; nothing leaves memory unwritten without a line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import StateError
from ..model.options import Options
from ..sqlite.anchor import LOOK_S, Anchor
from ..sqlite.transaction import transaction
from . import schema
from .encoding import clean, encode, encode_delivery
from .intake import Batch, Intake
from .interface import Done, answer_all
from .retention import SLICE_ROWS, Retention, now_ms, wal_limit_bytes
from .rows import Row, origin_of, to_bytes

_log = logging.getLogger(__name__)

# What the thread adds to its nice value: on a busy core calls go before records. Who waits for a record leaves the
# core free meanwhile.
WRITER_NICE = 10
# How long a record that nobody waits for may gather company.
GATHER_S = 0.1
# While something is being swept out, turns are shorter: each does a commit and some slices.
SWEEP_PAUSE_S = 0.005
SWEEP_TURN_S = 0.02
SWEEP_EVERY_S = 5.0
SWEEP_LEAST_S = 1.0
RETRY_S = 0.5
# How often the log says that records go where no start will find them.
REMIND_S = 60.0
# How long `close` keeps trying against a disk that refuses.
CLOSE_S = 5.0

# What a record that is wrong in itself makes the encoding or sqlite3 raise; the disk's faults are OperationalError, or
# DatabaseError itself for a damaged file.
_DEFECTS = (sqlite3.Error, ArithmeticError, ValueError, TypeError, LookupError, AttributeError)

# Rows to one statement: each is one release of the interpreter's lock and, with a busy loop thread, one wait for it.
_ROWS_PER_STATEMENT = 16
# Up to so many rows to a commit the thread gives way after each statement: a call would wait for all of them on a core
# that it shares with the loop. With more, calls come faster than that would let it keep up.
_YIELD_ROWS = 512
# sqlite3 copies what is bound, and keeps the interpreter to itself meanwhile: of larger records the large columns are
# written behind the statement, without a copy and without the interpreter's lock.
_LARGE_BYTES = 65_536
# What a commit adds to the WAL at least, whatever the record's size.
_COMMIT_PAGES = 5


class Writer:
    """Owns the writing connection from `start` to the end of the thread, which closes it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        intake: Intake,
        loop: asyncio.AbstractEventLoop,
        options: Callable[[], Options],
    ) -> None:
        self._connection = connection
        self._path = path
        self._intake = intake
        self._loop = loop
        self._options = options
        self._anchor = Anchor(path)
        self._next_look = 0.0
        self._next_reminder = 0.0
        # Records that were written while the file did not stand where it was opened.
        self._astray = 0
        self._retention = Retention(connection, path)
        self._sweep: Iterator[None] | None = None
        self._next_sweep = time.monotonic()
        self._last_sweep = 0.0
        self._has_swept = False
        self._upkeep_fault = ""
        self._wal_bytes = 0
        # What the file is known to hold: script hash → id, origin's seven texts → id.
        self._scripts: dict[str, int] = {}
        self._origins: dict[tuple[Any, ...], int] = {}
        self._thread = threading.Thread(target=self._run, name="whd-store-writer", daemon=True)
        self._closed: Done | None = None
        self.fault = ""
        self.is_detached = False
        self.written = 0
        self.commits = 0
        self.lost = 0
        self.last_commit_ms = 0.0
        self.file_bytes = self._retention.file_bytes

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def stop(self, closed: Done) -> None:
        """Writes what waits, closes the connection, then calls `closed` on the loop: None, or what was lost."""
        self._closed = closed
        self._intake.close()

    def join(self) -> None:
        """Waits for the thread's end, at most a second; for use after `stop` has called back."""
        self._thread.join(1.0)

    def _run(self) -> None:
        give_up: float | None = None
        with contextlib.suppress(OSError):
            # On Linux a nice value is a thread's own (setpriority(2), BUGS).
            nice = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice + WRITER_NICE)
        while True:
            self._intake.wait(*self._pauses())
            try:
                self._turn()
            except Exception as error:
                # A defect of whd, or no memory: the batch is still there, and this thread must go on.
                _log.exception("the store's writer failed and tries again")
                self.fault = f"the execution store cannot be used ({type(error).__name__}); see the log"
            if self._intake.is_closed:
                give_up = give_up or time.monotonic() + CLOSE_S
                if not self._intake.waiting or time.monotonic() > give_up:
                    break
        self._finish()

    def _turn(self) -> None:
        batch = self._intake.take()
        if batch.waiters or time.monotonic() >= self._next_look:
            self._look()
        if self.is_detached and batch.waiters:
            self._refuse_waiters(batch)
        count = len(batch.rows)
        if batch:
            self._write(batch)
        elif self.fault and not self.is_detached:
            self._probe()
        self._upkeep(count)

    def _pauses(self) -> tuple[float, float]:
        if self.is_detached:
            return LOOK_S, GATHER_S
        if self.fault:
            return RETRY_S, RETRY_S
        if self._sweep is not None:
            return SWEEP_PAUSE_S, SWEEP_PAUSE_S
        return max(0.0, min(self._next_sweep, self._next_look) - time.monotonic()), GATHER_S

    # ---- where the file is -------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Looks whether the next start would open what is written here, and says so when that changes."""
        self._next_look = time.monotonic() + LOOK_S
        what = self._anchor.fault()
        if not what:
            if self.is_detached:
                self.is_detached = False
                self._recover()
            return
        if what != self.fault:
            _log.error("%s. Async calls are refused; sync calls go on, and their records are lost then", what)
        self.fault = what
        if not self.is_detached:
            self.is_detached = True
            self._next_reminder = time.monotonic() + REMIND_S
            self._rescue()
        if self._astray and time.monotonic() > self._next_reminder:
            self._next_reminder = time.monotonic() + REMIND_S
            _log.error("%s. %d records so far are lost then", what, self._astray)

    def _rescue(self) -> None:
        """What only a WAL without a name holds was said to be on disk."""
        try:
            if self._anchor.rescue(self._connection):
                self._astray = 0
        except sqlite3.Error as error:
            _log.warning("what was in the WAL of %s could not be saved: %s", self._path, error)

    def _refuse_waiters(self, batch: Batch) -> None:
        waiters = batch.waiters
        self._intake.hold(batch)
        self._answer([(done, self._refusal()) for _, done in waiters])

    def _take_back(self, batch: Batch) -> None:
        """After a commit to a file that had gone meanwhile: who waits is refused, so nothing may run that record."""
        try:
            with transaction(self._connection):
                for row, _ in batch.waiters:
                    if row is not None:
                        self._connection.execute("DELETE FROM execution WHERE id = ?", (to_bytes(row.id),))
        except sqlite3.Error as error:
            _log.warning("%s: records that nobody was promised could not be taken back: %s", self._path, error)
        self._answer([(done, self._refusal()) for _, done in batch.waiters])

    def _refusal(self) -> StateError:
        # The path and SQLite's words are the operator's; a caller only learns that it was not kept.
        return StateError("the execution store cannot write", log_detail=self.fault)

    # ---- a commit ----------------------------------------------------------------------------------------------------

    def _write(self, batch: Batch) -> None:
        started = time.monotonic()
        refused: dict[str, Exception] = {}
        try:
            try:
                self._commit(batch)
            except sqlite3.OperationalError:
                raise
            except _DEFECTS as error:
                if type(error) is sqlite3.DatabaseError:
                    raise
                refused = self._commit_singly(batch)
        except sqlite3.Error as error:
            self._fail(batch, error)
            return
        self.last_commit_ms = (time.monotonic() - started) * 1000
        self.commits += 1
        self.written += len(batch.rows) - len(refused)
        self._wal_bytes += _COMMIT_PAGES * self._retention.page_bytes + 2 * batch.size_bytes
        self._intake.written()
        if batch.waiters:
            # Behind the fsync: what is promised now must be in the file that the next start opens.
            self._look()
        if self.is_detached:
            self._astray += len(batch.rows)
            if batch.waiters:
                self._take_back(batch)
            return
        self._recover()
        if batch.waiters:
            self._answer([(done, refused.get(row.id) if row else None) for row, done in batch.waiters])

    def _commit(self, batch: Batch) -> None:
        """The whole batch, in few statements."""
        execute = self._connection.execute
        try:
            with transaction(self._connection):
                self._save_scripts(batch)
                pending: list[Any] = []
                count = 0
                for row in batch.rows.values():
                    values = encode(row, self._origin(row))
                    if row.delivery:
                        execute(schema.SAVE_DELIVERY, encode_delivery(row))
                    if row.size_bytes > _LARGE_BYTES:
                        self._save_large(values)
                        continue
                    pending += values
                    count += 1
                    if count == _ROWS_PER_STATEMENT:
                        execute(_SAVE_MANY, pending)
                        if len(batch.rows) <= _YIELD_ROWS:
                            os.sched_yield()
                        pending = []
                        count = 0
                if count:
                    execute(schema.save_statement(count), pending)
        except BaseException:
            self._forget()
            raise

    def _save_large(self, values: tuple[Any, ...]) -> None:
        """One record, its large columns first as zeros that take no memory (sqlite3_blob_open)."""
        large = {
            column: value
            for column, value in enumerate(values)
            if isinstance(value, (bytes, bytearray)) and len(value) > _LARGE_BYTES
        }
        execute = self._connection.execute
        execute(
            schema.save_statement(1, tuple(large)),
            [len(value) if column in large else value for column, value in enumerate(values)],
        )
        if not large:
            return
        (seq,) = execute("SELECT seq FROM execution WHERE id = ?", (values[0],)).fetchone()
        for column, value in large.items():
            with self._connection.blobopen("execution", schema.COLUMNS[column], seq) as blob:
                blob.write(value)

    def _commit_singly(self, batch: Batch) -> dict[str, Exception]:
        """Commits record by record: one that cannot be written (a defect, not the disk) takes no other along."""
        refused: dict[str, Exception] = {}
        try:
            with transaction(self._connection):
                for script_hash, source in batch.scripts.items():
                    self._save_script(*clean((script_hash, source)))
                for row in batch.rows.values():
                    self._connection.execute("SAVEPOINT record")
                    try:
                        values = encode(row, self._origin(Row._make(clean(row))))
                        self._connection.execute(schema.save_statement(1), clean(values))
                        if row.delivery:
                            self._connection.execute(schema.SAVE_DELIVERY, encode_delivery(row))
                    except sqlite3.OperationalError:
                        raise
                    except _DEFECTS as error:
                        self._connection.execute("ROLLBACK TO record")
                        self._forget()
                        refused[row.id] = error
                    self._connection.execute("RELEASE record")
        except BaseException:
            self._forget()
            raise
        for execution_id, reason in refused.items():
            _log.error("execution %s cannot be written and is not kept: %r", execution_id, reason)
        self.lost += len(refused)
        return refused

    def _save_scripts(self, batch: Batch) -> None:
        for script_hash, source in batch.scripts.items():
            if script_hash not in self._scripts:
                self._save_script(script_hash, source)

    def _save_script(self, script_hash: str, source: str | None) -> int:
        execute = self._connection.execute
        execute(
            "INSERT INTO script (hash, source) VALUES (?, ?) "
            "ON CONFLICT (hash) DO UPDATE SET source = coalesce(excluded.source, source)",
            (script_hash, source),
        )
        (identity,) = execute("SELECT id FROM script WHERE hash = ?", (script_hash,)).fetchone()
        if source is not None:
            self._scripts[script_hash] = identity
        return int(identity)

    def _origin(self, row: Row) -> int:
        key: tuple[Any, ...] = origin_of(row)
        origin = self._origins.get(key)
        if origin is not None:
            return origin
        # A hash whose text nobody gave yet is kept all the same; the text may come with a later record.
        script = self._scripts.get(row.script_hash) or self._save_script(row.script_hash, None)
        values = (*key[:-1], script)
        self._connection.execute(_SAVE_ORIGIN, values)
        (identity,) = self._connection.execute(_FIND_ORIGIN, values).fetchone()
        self._origins[key] = int(identity)
        return int(identity)

    def _forget(self) -> None:
        """After a rollback: what the file was said to hold may not be there."""
        self._scripts.clear()
        self._origins.clear()

    def _fail(self, batch: Batch, error: sqlite3.Error) -> None:
        waiters = batch.waiters
        self._intake.hold(batch)
        self._report(schema.describe(error, self._path))
        self._answer([(done, self._refusal()) for _, done in waiters])

    def _report(self, fault: str) -> None:
        if fault != self.fault:
            _log.error("%s; %d records wait in memory, tried again every %.1f s", fault, self._intake.waiting, RETRY_S)
        self.fault = fault

    def _recover(self) -> None:
        if self.fault:
            _log.info("the execution store can write again")
            self.fault = ""

    def _probe(self) -> None:
        """With nothing to write: writes one page, to see whether the fault still stands."""
        try:
            with transaction(self._connection):
                self._connection.execute(f"PRAGMA user_version={schema.VERSION}")
        except sqlite3.Error as error:
            self._report(schema.describe(error, self._path))
        else:
            self._recover()

    def _upkeep(self, rows_written: int) -> None:
        """Retention and checkpoint: after the callers were answered, never between them and their commit."""
        try:
            options = self._options()
            if not self.fault or self.is_detached:
                self._sweep_some(options, 1 + 2 * rows_written // SLICE_ROWS)
            limit = wal_limit_bytes(options.max_store_bytes)
            if self._wal_bytes > limit:
                # PASSIVE waits for no reader; what it cannot copy yet, the next one will.
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._wal_bytes = 0
            if self._retention.wal_bytes > 2 * limit:
                self._retention.truncate_wal()
            self.file_bytes = self._retention.file_bytes
            self._upkeep_fault = ""
        except (sqlite3.Error, OSError) as error:
            # The records are safe in the WAL. Should the disk be full, the next commit says so.
            self._sweep = None
            self._next_sweep = time.monotonic() + SWEEP_EVERY_S
            if self._upkeep_fault != str(error):
                self._upkeep_fault = str(error)
                _log.warning("upkeep of %s failed and is tried again: %s", self._path, error)

    def _sweep_some(self, options: Options, least: int) -> None:
        """Goes on with the sweep, or begins one that is due: `least` slices, or more while nobody waits."""
        now = time.monotonic()
        if self._sweep is None:
            is_above = self._retention.is_above(options.max_store_bytes)
            if now < (self._last_sweep + SWEEP_LEAST_S if is_above else self._next_sweep):
                return
            self._last_sweep = now
            self._has_swept = False
            self._connection.execute(f"PRAGMA journal_size_limit={wal_limit_bytes(options.max_store_bytes)}")
            self._sweep = self._retention.sweep(
                now_ms=now_ms(),
                retention_minutes=options.retention_minutes,
                max_store_bytes=options.max_store_bytes,
            )
        # What is removed need not be safe from a power cut, so that no fsync holds up the next commit; and the WAL,
        # which a sweep fills fast, is copied here, between the slices, in small parts.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        pages = wal_limit_bytes(options.max_store_bytes) // self._retention.page_bytes
        self._connection.execute(f"PRAGMA wal_autocheckpoint={pages}")
        try:
            for number in itertools.count():
                if number >= least and (self._intake.is_urgent or time.monotonic() > now + SWEEP_TURN_S):
                    break
                if next(self._sweep, _END) is _END:
                    self._sweep = None
                    self._next_sweep = time.monotonic() + SWEEP_EVERY_S
                    if self._has_swept:
                        # Only this makes the file itself shrink: until then its end is cut off in the WAL alone.
                        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                    break
                self._has_swept = True
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute(f"PRAGMA wal_autocheckpoint={schema.AUTOCHECKPOINT_PAGES}")
            if self._retention.removed_origins:
                self._retention.removed_origins.clear()
                self._forget()

    def _answer(self, results: list[tuple[Done, Exception | None]]) -> None:
        if not results:
            return
        try:
            self._loop.call_soon_threadsafe(answer_all, results)
        except RuntimeError:
            # The loop is closed: the process is on its way out, nobody waits any more.
            _log.debug("%d callers had left before their records were written", len(results))

    def _finish(self) -> None:
        self._look()
        unwritten = self._intake.waiting
        error: StateError | None = None
        if self.is_detached:
            self._rescue()
        if missing := unwritten + self._astray * self.is_detached:
            self.lost += missing
            error = StateError(
                f"{missing} executions could not be written where the next start finds them: {self.fault}"
            )
            _log.error("%s", error)
        try:
            if not unwritten and not self.is_detached:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as checkpoint_error:
            # What is in the WAL is as safe there; the next start reads it.
            _log.warning("the WAL of %s stays as it is: %s", self._path, checkpoint_error)
        finally:
            self._anchor.leave(self._connection)
        if self._closed is not None:
            self._answer([(self._closed, error)])


_END = object()
_SAVE_MANY = schema.save_statement(_ROWS_PER_STATEMENT)
_ORIGIN_COLUMNS = ("client_name", "webhook_name", "key_webhook_name", "flow_name", "user_name", "kind", "script")
_SAVE_ORIGIN = f"INSERT OR IGNORE INTO origin ({','.join(_ORIGIN_COLUMNS)}) VALUES (?,?,?,?,?,?,?)"
_FIND_ORIGIN = f"SELECT id FROM origin WHERE {' AND '.join(f'{name} = ?' for name in _ORIGIN_COLUMNS)}"
