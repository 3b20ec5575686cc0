"""Which delivery is the first with its id: decided in one place for the whole daemon, one step at a time.

Who is to run a delivery reserves it before anything is started. Then either an execution comes of it (`begin`), and all
who come later are its repeats, or none does (`release`), and the next in line is the first. While neither is said, who
comes later waits here. What is on disk is the truth over restarts: the record and its delivery are written in one
transaction. In memory stands only what is not there yet: reservations, and executions whose end was not written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..model.delivery import Delivery, read_delivery
from ..model.execution import Status
from .interface import Conflict, Decided, DeliveryTable, Repeat, Reserved
from .rows import Row

# How long an end that was saved may wait for the next look whether it is on disk.
SETTLE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class KeptDelivery:
    """What is on disk of one delivery."""

    body: bytes
    execution_id: str
    status: Status
    until_ms: int


Found = Callable[[Sequence[KeptDelivery] | Exception], None]
Flushed = Callable[[Exception | None], None]


@dataclass(slots=True, eq=False)
class _Request:
    delivery: Delivery
    decided: Decided
    instead_of: str
    is_unique: bool
    holder: object


@dataclass(slots=True, eq=False)
class _Entry:
    """`execution_id`: "" until it has begun. `recorded_id`: of the record that was saved.

    `is_orphan`: its holder is gone.
    """

    delivery: Delivery
    number: int
    holder: object
    execution_id: str = ""
    status: Status = Status.PENDING
    recorded_id: str = ""
    is_orphan: bool = False
    waiting: list[_Request] = field(default_factory=list)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Deliveries(DeliveryTable):
    """The table of a store that is open in this process.

    `find`: what is on disk under a key. `flush`: calls back once all that was saved before is on disk, or with
    an error.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        find: Callable[[bytes, Found], None],
        flush: Callable[[Flushed], None],
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._loop = loop
        self._find = find
        self._flush = flush
        self._now_ms = now_ms
        self._numbers = 0
        self._by_number: dict[int, _Entry] = {}
        self._entries: dict[bytes, dict[bytes, _Entry]] = {}
        # Keys that are being looked up on disk, and who asked.
        self._asked: dict[bytes, list[_Request]] = {}
        self._ended: list[_Entry] = []
        self._settling: asyncio.TimerHandle | None = None

    @property
    def in_memory(self) -> int:
        """How many are not yet, or not as they stand, on disk."""
        return len(self._by_number)

    def reserve(
        self,
        delivery: Delivery,
        decided: Decided,
        *,
        instead_of: str = "",
        is_unique: bool = False,
        holder: object = None,
    ) -> None:
        self._ask(_Request(delivery, decided, instead_of, is_unique, holder))

    def _ask(self, request: _Request) -> None:
        key = request.delivery.key
        asked = self._asked.get(key)
        if asked is not None:
            asked.append(request)
        elif not self._decide_by_entry(request):
            self._asked[key] = [request]
            self._find(key, lambda found: self._on_found(key, found))

    def _on_found(self, key: bytes, found: Sequence[KeptDelivery] | Exception) -> None:
        for request in self._asked.pop(key):
            if isinstance(found, Exception):
                request.decided(found)
            elif not self._decide_by_entry(request):
                self._decide(request, found)

    def _decide_by_entry(self, request: _Request) -> bool:
        """Decides by what is in memory; False: that is not enough."""
        delivery = request.delivery
        entry = self._entries.get(delivery.key, {}).get(delivery.body)
        if entry is None:
            return False
        if not entry.execution_id:
            entry.waiting.append(request)
            return True
        may_replace = entry.status.is_ended or entry.is_orphan
        if entry.delivery.until_ms <= self._now_ms():
            # Its end is still to be written, which the new one's record will overwrite.
            self._remove(entry)
            return False
        if request.instead_of == entry.execution_id and may_replace:
            self._remove(entry)
            self._add(request, is_reused=False)
        else:
            request.decided(Repeat(entry.execution_id, entry.status))
        return True

    def _decide(self, request: _Request, found: Sequence[KeptDelivery]) -> None:
        """Decides by what is on disk, of one that is not in memory."""
        delivery = request.delivery
        now_ms = self._now_ms()
        others = False
        for kept in found:
            if kept.until_ms <= now_ms or kept.execution_id == request.instead_of:
                continue
            if kept.body == delivery.body:
                request.decided(Repeat(kept.execution_id, kept.status))
                return
            others = True
        for entry in self._entries.get(delivery.key, {}).values():
            if not entry.execution_id and request.is_unique:
                # Perhaps nothing comes of the other one.
                entry.waiting.append(request)
                return
            others = others or entry.delivery.until_ms > now_ms
        if others and request.is_unique:
            request.decided(Conflict())
        else:
            self._add(request, is_reused=others)

    def _add(self, request: _Request, *, is_reused: bool) -> None:
        self._numbers += 1
        entry = _Entry(request.delivery, self._numbers, request.holder)
        self._put(entry)
        request.decided(Reserved(entry.number, is_reused))

    def _put(self, entry: _Entry) -> None:
        self._by_number[entry.number] = entry
        self._entries.setdefault(entry.delivery.key, {})[entry.delivery.body] = entry

    def begin(self, number: int, execution_id: str) -> None:
        entry = self._by_number.get(number)
        if entry is None:
            return
        entry.execution_id = execution_id
        waiting, entry.waiting = entry.waiting, []
        for request in waiting:
            # Not all wait for a repeat: one may have the id with another body.
            self._ask(request)

    def release(self, number: int) -> None:
        entry = self._by_number.get(number)
        if entry is not None:
            self._free(entry)

    def abandon(self, holder: object) -> None:
        mine = [entry for entry in self._by_number.values() if entry.holder is holder]
        for entry in mine:
            entry.waiting = [request for request in entry.waiting if request.holder is not holder]
        for entry in mine:
            if entry.recorded_id:
                entry.is_orphan = True
                self.begin(entry.number, entry.recorded_id)
            else:
                self._free(entry)

    def _free(self, entry: _Entry) -> None:
        waiting, entry.waiting = entry.waiting, []
        self._remove(entry)
        for request in waiting:
            self._ask(request)

    def _remove(self, entry: _Entry) -> None:
        self._by_number.pop(entry.number, None)
        group = self._entries.get(entry.delivery.key, {})
        if group.get(entry.delivery.body) is entry:
            del group[entry.delivery.body]
            if not group:
                del self._entries[entry.delivery.key]

    # ---- what the store saves ----------------------------------------------------------------------------------------

    def saved(self, row: Row) -> None:
        """A record with a delivery was saved, perhaps not written yet: it counts from now on."""
        delivery = read_delivery(row.delivery)
        entry = self._entries.get(delivery.key, {}).get(delivery.body)
        if entry is None:
            # Of an earlier life of the daemon.
            self._numbers += 1
            entry = _Entry(delivery, self._numbers, None, row.id, is_orphan=True)
            self._put(entry)
        elif entry.execution_id != row.id and (entry.execution_id or entry.delivery != delivery):
            # Of one that was replaced: it failed, or its window ended before it did.
            return
        entry.status = row.status
        # Of one that has not begun: `begin` follows once the record is on disk, or else `release`.
        entry.recorded_id = row.id
        if row.status.is_ended:
            self._ended.append(entry)
            if self._settling is None:
                self._settling = self._loop.call_later(SETTLE_S, self._settle)

    def _settle(self) -> None:
        """Forgets the ends that are on disk by now."""
        self._settling = None
        ended, self._ended = self._ended, []

        def written(error: Exception | None) -> None:
            if error is None:
                for entry in ended:
                    self._remove(entry)
                return
            self._ended += ended
            if self._settling is None:
                self._settling = self._loop.call_later(SETTLE_S, self._settle)

        self._flush(written)

    def close(self) -> None:
        """Stops the timer."""
        if self._settling is not None:
            self._settling.cancel()
