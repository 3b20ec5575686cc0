"""What is common to all fronts as one of them sees it: engine.shared.Shared over its link to the hub.

What is on disk is read here, by readers of our own; whatever changes something goes through the hub. Records travel
there behind the answer, many in one frame, and before every question about executions; so what the hub says of them
always counts what happened here before.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from ..broker.locks import Acquired, LockError, LockTable
from ..engine.shared import Shared
from ..engine.state import Paths
from ..errors import StateError, WhdError
from ..executions.lookup import RemoteExecutions
from ..executions.queue import LocalQueue
from ..model.execution import Execution, Status
from ..model.snapshot import SavedSetting
from ..saved.reading import SavedReading
from ..saved.saved import SavedDone, SavedRecords
from ..saved.values import file_bytes
from ..settings.reload import Reloader
from ..store import ExecutionReader, ExecutionStore, Stored, open_reader
from ..store.interface import Done, Records, StoreCounters, Summaries, answer_all
from ..store.rows import Row, to_row
from .counters import Counters, SharedBudget
from .deliveries import FrontDeliveries
from .link import Link, LinkLost
from .partition import owner
from .records import pack, read_error, read_stored

log = logging.getLogger("whd.fronts")

# How long a record that nobody waits for may gather others: a frame for each call would wake the hub for each.
GATHER_S: Final = 0.02
# Records beyond this are sent ahead of the loop's turn, so that no frame becomes very large.
EARLY_BYTES: Final = 4_194_304
# What the hub does not take waits here; from here on new calls are refused.
FULL_BYTES: Final = 67_108_864
BEHIND_BYTES: Final = 33_554_432
# Sources that the hub remembers for us; then both begin anew.
MAX_SCRIPTS: Final = 1_000
# A wait for another front's execution is asked in pieces, so that one that nobody waits for any more soon ends.
WAIT_PIECE_S: Final = 10.0
# While an execution's front is down: how often it is asked again, and how long a cancel tries.
ASK_AGAIN_S: Final = 0.1
CANCEL_TRIES_S: Final = 10.0
# How much longer than asked a wait takes for an answer on its way, before it gives what it knew.
LATE_ANSWER_S: Final = 1.0


class FrontStore(ExecutionStore):
    """The store of one front, whose records the hub keeps below `state`."""

    fault = ""
    is_detached = False

    def __init__(self, loop: asyncio.AbstractEventLoop, state: Path, link: Link) -> None:
        self._loop = loop
        self._state = state
        self._link = link
        self._reader: ExecutionReader | None = None
        self._is_closed = False
        self._rows: list[Row] = []
        self._scripts: set[str] = set()
        # By the index in `_rows`: what to call once that record is on disk.
        self._waiting: dict[int, Done] = {}
        self._size_bytes = 0
        # Records that were sent and are waited for.
        self._accepting: dict[int, Done] = {}
        self._accepts = 0
        self._written = 0
        # Both, `fault` and `is_detached`, as the hub said last.
        self._is_full = False
        self._is_behind = False
        self.deliveries = FrontDeliveries(link, self.send)

    async def open(self) -> None:
        """Begins to read. The hub has opened the store. Raises StateError."""
        self._reader = await open_reader(self._state, self._loop)

    async def close(self) -> None:
        """Has everything written that was saved. Harmless twice. Raises StateError."""
        reader, self._reader = self._reader, None
        if self._is_closed:
            return
        try:
            await self.flush()
        finally:
            self._is_closed = True
            if reader is not None:
                await reader.close()

    @property
    def is_full(self) -> bool:
        return self._is_full or self._link.unsent_bytes > FULL_BYTES

    @property
    def is_behind(self) -> bool:
        return self._is_behind or self._link.unsent_bytes > BEHIND_BYTES

    def when_room(self, done: Callable[[], None]) -> None:
        if self.is_behind and not self.fault:
            self.send()
            self._link.ask(lambda _head, _value: done(), "flush")
        else:
            done()

    def take_state(self, fault: str, *, is_full: bool, is_behind: bool, is_detached: bool = False) -> None:
        """The hub's word on the disk."""
        self.fault, self._is_full, self._is_behind, self.is_detached = fault, is_full, is_behind, is_detached

    def counters(self) -> StoreCounters:
        """What this front has sent; the hub counts what became of it."""
        return StoreCounters(
            written=self._written,
            waiting=len(self._rows),
            waiting_bytes=self._size_bytes,
            commits=0,
            last_commit_ms=0.0,
            lost=0,
            file_bytes=0,
            fault=self.fault,
        )

    # ---- writing -----------------------------------------------------------------------------------------------------

    def accept(self, execution: Execution, script: str | None, done: Done) -> None:
        self.accept_row(to_row(execution), script, done)

    def accept_row(self, row: Row, script: str | None, done: Done) -> None:
        if self._is_closed or self.fault:
            self._loop.call_soon(done, StateError("the execution store cannot write", log_detail=self.fault))
            return
        self._add(row, script, done)

    def save_nowait(self, execution: Execution, script: str | None) -> None:
        # Not by save_row: one call less for each sync call.
        if self._is_closed:
            raise StateError(f"execution {execution.id} was saved after the store's end")
        self._add(to_row(execution), script, None)

    def save_row(self, row: Row, script: str | None) -> None:
        if self._is_closed:
            raise StateError(f"execution {row.id} was saved after the store's end")
        self._add(row, script, None)

    def _add(self, row: Row, script: str | None, done: Done | None) -> None:
        if script is not None and row.script_hash not in self._scripts:
            self._send_script(row.script_hash, script)
        if done is not None:
            if not self._waiting:
                self._loop.call_soon(self.send)
            self._waiting[len(self._rows)] = done
        elif not self._rows:
            self._loop.call_later(GATHER_S, self.send)
        self._rows.append(row)
        self._size_bytes += row.size_bytes
        if self._size_bytes > EARLY_BYTES:
            self.send()

    def _send_script(self, script_hash: str, script: str) -> None:
        if len(self._scripts) >= MAX_SCRIPTS:
            # What gathers names scripts that the hub is about to forget.
            self.send()
            self._scripts.clear()
            self._link.tell("scripts.forget")
        self._scripts.add(script_hash)
        self._link.tell("script", hash=script_hash, source=script)

    def send(self) -> None:
        """Sends what has gathered."""
        gathered, self._rows = self._rows, []
        waiting, self._waiting = self._waiting, {}
        self._size_bytes = 0
        if not gathered:
            return
        self._written += len(gathered)
        accepts = []
        for index, done in waiting.items():
            self._accepts += 1
            self._accepting[self._accepts] = done
            accepts.append([index, self._accepts])
        heads, value = pack(gathered)
        self._link.tell("save", value, rows=heads, accepts=accepts)

    def take_accepted(self, numbers: list[int], refused: list[Any]) -> None:
        """The hub's word on records that are waited for: on disk, or ([number, error]) not."""
        answer_all([(self._accepting.pop(number), None) for number in numbers])
        answer_all([(self._accepting.pop(number), read_error(error)) for number, error in refused])

    async def flush(self) -> None:
        if self._is_closed:
            raise StateError("the execution store is closed")
        self.send()
        head, _value = await self._link.fetch("flush")
        if "error" in head:
            raise read_error(head["error"])

    # ---- reading -----------------------------------------------------------------------------------------------------

    async def get(self, execution_id: str) -> Stored | None:
        """The record; of another front's execution as it stands there."""
        stored = await self._open_reader().get(execution_id)
        if stored is not None and stored.execution.status.is_ended:
            return stored  # nothing can change any more
        self.send()
        return read_stored(*await self._link.fetch("get", id=execution_id))

    async def list(
        self,
        client: str | None = None,
        status: Status | None = None,
        webhook: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Summaries:
        """What is on disk: of other fronts' executions not the last moments. Commands list in the hub."""
        await self._settle()
        return await self._open_reader().list(client, status, webhook, limit, before)

    async def unfinished(self) -> Records:
        """What is on disk. The hub has written all that earlier fronts saved before a front starts."""
        await self._settle()
        return await self._open_reader().unfinished()

    async def _settle(self) -> None:
        """Has on disk what was saved here, so that a search sees it; goes on without, if that cannot be had."""
        if self._written + len(self._rows) and not self.fault and not self._is_closed:
            try:
                await self.flush()
            except StateError as error:
                log.warning("a search does not see what was saved last: %s", error.log_detail)

    def _open_reader(self) -> ExecutionReader:
        if self._reader is None:
            raise StateError("the execution store is closed")
        return self._reader


class OtherFronts(RemoteExecutions):
    """The executions of the other fronts, through the hub."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: Link) -> None:
        self._loop = loop
        self._link = link
        self._released: asyncio.Future[None] = loop.create_future()

    async def wait(self, stored: Stored, wait_s: float) -> Stored:
        """Waits for the end, at most so long, and for the replacement of the execution's front while there is none."""
        waiting = self._loop.create_task(self._wait(stored, wait_s))
        try:
            # With a time-out: the execution's front may hang.
            await asyncio.wait(
                (waiting, self._released), timeout=wait_s + LATE_ANSWER_S, return_when=asyncio.FIRST_COMPLETED
            )
            return waiting.result() if waiting.done() else stored
        finally:
            waiting.cancel()

    async def _wait(self, stored: Stored, wait_s: float) -> Stored:
        deadline = self._loop.time() + wait_s
        while not stored.execution.status.is_ended and (left := deadline - self._loop.time()) > 0:
            try:
                asked = await self._link.fetch("wait", id=stored.execution.id, wait_s=min(left, WAIT_PIECE_S))
            except LinkLost:
                return stored
            stored = read_stored(*asked) or stored
            if not asked[0].get("is_live"):
                await asyncio.sleep(min(left, ASK_AGAIN_S))
        return stored

    def release_waiters(self) -> None:
        if not self._released.done():
            self._released.set_result(None)

    async def cancel(self, stored: Stored, message: str) -> Stored:
        deadline = self._loop.time() + CANCEL_TRIES_S
        while not stored.execution.status.is_ended:
            asked = await self._link.fetch("cancel", id=stored.execution.id, message=message)
            stored = read_stored(*asked) or stored
            if asked[0].get("is_live"):
                break
            if self._loop.time() > deadline or self._released.done():
                raise StateError("the process that runs the execution does not answer")
            await asyncio.sleep(ASK_AGAIN_S)
        return stored


class FrontSaved(SavedReading, SavedRecords):
    """What is saved, as one front has it: it reads, the hub writes."""

    # As the hub said last.
    fault = ""
    is_detached = False

    def __init__(self, loop: asyncio.AbstractEventLoop, state: Path, link: Link, reloader: Reloader) -> None:
        super().__init__(state, loop)
        self._link = link
        self._reloader = reloader
        # What came before the settings were read; then each change is live at once.
        self._early: list[tuple[str, str, SavedSetting | None]] | None = []

    def go_live(self) -> None:
        """The settings are read: what is saved goes before them."""
        early, self._early = self._early, None
        if early:
            self._reloader.take_saved(early)

    def take_changes(self, changes: list[Any]) -> None:
        """The hub's word on what is saved: [client, name, None or [value as JSON, saver, saved_ms, created_ms]]s."""
        taken = [(client, name, _setting(client, name, entry)) for client, name, entry in changes]
        if self._early is not None:
            self._early += taken
        else:
            self._reloader.take_saved(taken)

    def setting_save(self, client_name: str, name: str, value_json: bytes, saver: str, done: SavedDone) -> None:
        self._change(done, value_json, "setting_save", client_name, name, saver)

    def setting_delete(self, client_name: str, name: str, done: SavedDone) -> None:
        self._change(done, None, "setting_delete", client_name, name)

    def setting_list_append(self, client_name: str, name: str, item_json: bytes, saver: str, done: SavedDone) -> None:
        self._change(done, item_json, "setting_list_append", client_name, name, saver)

    def file_save(
        self, client_name: str, name: str, content: bytes | str, saver: str, done: SavedDone, *, is_text: bool = False
    ) -> None:
        is_text = is_text or isinstance(content, str)
        data = file_bytes(name, content)
        self._change(done, data, "file_save", client_name, name, saver, is_text=is_text)

    def file_delete(self, client_name: str, name: str, done: SavedDone) -> None:
        self._change(done, None, "file_delete", client_name, name)

    def _change(
        self,
        done: SavedDone,
        value: bytes | None,
        what: str,
        client_name: str,
        name: str,
        saver: str = "",
        *,
        is_text: bool = False,
    ) -> None:
        def answered(head: dict[str, Any] | None, _value: bytes | None) -> None:
            error: WhdError | None = None
            if head is None:
                error = LinkLost("the daemon is stopping")
            elif "error" in head:
                error = read_error(head["error"])
            done(error)

        self._link.ask(answered, "saved", value, what=what, client=client_name, name=name, saver=saver, is_text=is_text)


def _setting(client_name: str, name: str, entry: list[Any] | None) -> SavedSetting | None:
    if entry is None:
        return None
    value_json, saver, saved_ms, created_ms = entry
    return SavedSetting(client_name, name, json.loads(value_json), value_json.encode(), saver, saved_ms, created_ms)


class FrontLocks(LockTable):
    """The locks as one front has them, through the hub; a holder is a Job, which the hub knows by its number."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._holders: set[int] = set()

    def acquire(self, client_name: str, name: str, holder: Any, timeout_s: float | None, callback: Acquired) -> None:

        def answered(head: dict[str, Any] | None, _value: bytes | None) -> None:
            if holder.number not in self._holders:
                return  # it ended meanwhile
            if head is None:
                callback(LockError("CloudomationException", "the daemon is stopping"))
            elif "error" in head:
                callback(LockError(*head["error"]))
            else:
                callback(None)

        self._holders.add(holder.number)
        self._link.ask(answered, "lock", client=client_name, name=name, holder=holder.number, timeout_s=timeout_s)

    def release(self, client_name: str, name: str, holder: Any) -> None:
        self._link.tell("unlock", client=client_name, name=name, holder=holder.number)

    def release_all(self, holder: Any) -> None:
        """Asks nothing of the hub for a holder that never asked for a lock."""
        if holder.number in self._holders:
            self._holders.discard(holder.number)
            self._link.tell("unlock", holder=holder.number)


class RemoteShared:
    """What is shared, as one front among `fronts` has it. Made before the link is up: the hub speaks at once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        paths: Paths,
        reloader: Reloader,
        *,
        link: Link,
        counters: Counters,
        front: int,
        fronts: int,
    ) -> None:
        self._greeted = asyncio.Event()
        self.store = FrontStore(loop, paths.state, link)
        self.saved = FrontSaved(loop, paths.state, link, reloader)
        self._shared = Shared(
            store=self.store,
            queue=LocalQueue(self.store.unfinished, lambda execution_id: owner(execution_id, fronts) == front),
            saved=self.saved,
            locks=FrontLocks(link),
            budget=SharedBudget(lambda: reloader.snapshot.options, counters, front),
            remote_executions=OtherFronts(loop, link),
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Shared]:
        """Once the hub has said all that there is to know. Raises StateError, also if records cannot be written."""
        await self._greeted.wait()
        async with AsyncExitStack() as stack:
            await self.store.open()
            stack.push_async_callback(self.store.close)
            self.saved.open_reading()
            stack.push_async_callback(self.saved.close_reading)
            self.saved.go_live()
            yield self._shared

    def on_greeted(self) -> None:
        """The hub has said all that a front must know before it serves."""
        self._greeted.set()
