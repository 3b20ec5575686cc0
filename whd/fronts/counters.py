"""What the fronts count together: numbers in memory that hub and fronts share, each written by one process alone.

Here stands only what another process must know at once, without asking: a limit that is kept over all fronts, where a
connection goes, what a front that is stuck or gone was doing. What is merely said (status, metrics) is a field of
engine.report.Report instead: each front counts it for itself, and the hub asks for it when somebody wants to know.

A total is a sum of the fronts' numbers, read without a lock: it is right but for what others count at the same instant.
So a limit that is kept this way (max_buffered_bytes, max_queue, max_workers) can be passed by at most one step of each
other front. memfd_create(2): the memory has no name, and is gone with the last process that has it.
"""

from __future__ import annotations

import enum
import mmap
import os
from collections.abc import Callable
from functools import partial
from typing import Final

from ..engine.report import ExecutionsReport
from ..model.budget import BufferBudget
from ..model.options import Options

# Clients beyond this number have their queues counted by each front for itself. Unused pages take no memory.
MAX_CLIENTS: Final = 65_536
_PER_FRONT: Final = 16
_ITEM_BYTES: Final = 8


class Count(enum.IntEnum):
    """What a front counts."""

    CLOSED = 0  # connections that were handed to it and have ended
    BUFFERED = 1  # against max_buffered_bytes
    RUNNING = 2
    WAITING = 3
    ACTIVE = 4
    STARTED = 5
    WORKERS = 6  # against max_workers
    STARVED = 7  # 1: jobs wait because all together have max_workers
    IDLE = 8  # 1: it has workers without a job, which it may end for others' sake


class Counters:
    """All fronts' numbers. `descriptor` is inherited by the fronts; its maker closes it."""

    def __init__(self, descriptor: int, fronts: int) -> None:
        self.descriptor = descriptor
        self._fronts = fronts
        size = (_PER_FRONT + MAX_CLIENTS) * fronts * _ITEM_BYTES
        self._items = memoryview(mmap.mmap(descriptor, size)).cast("q")
        self._clients_at = _PER_FRONT * fronts

    @classmethod
    def create(cls, fronts: int) -> Counters:
        """All zero. Raises OSError."""
        descriptor = os.memfd_create("whd-counters", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, (_PER_FRONT + MAX_CLIENTS) * fronts * _ITEM_BYTES)
        return cls(descriptor, fronts)

    def get(self, front: int, count: Count) -> int:
        """A front's number."""
        return self._items[count * self._fronts + front]

    def set(self, front: int, count: Count, value: int) -> None:
        """For the front itself."""
        self._items[count * self._fronts + front] = value

    def total(self, count: Count) -> int:
        """All fronts' numbers together."""
        start = count * self._fronts
        return sum(self._items[start : start + self._fronts])

    def of_others(self, front: int, count: Count) -> int:
        """The other fronts' numbers together."""
        return self.total(count) - self.get(front, count)

    def executions(self, front: int | None = None) -> ExecutionsReport:
        """How many there are in one front or in all, known without asking; the slots are the hub's to say."""
        read = self.total if front is None else partial(self.get, front)
        return ExecutionsReport(
            started=read(Count.STARTED),
            active=read(Count.ACTIVE),
            running=read(Count.RUNNING),
            waiting=read(Count.WAITING),
        )

    def set_calls(self, front: int, client: int, calls: int) -> None:
        """A client's waiting calls, by the client's number."""
        self._items[self._clients_at + client * self._fronts + front] = calls

    def calls_of_others(self, front: int, client: int) -> int:
        """A client's waiting calls in the other fronts."""
        start = self._clients_at + client * self._fronts
        return sum(self._items[start : start + self._fronts]) - self._items[start + front]

    def clear(self, front: int, clients: int) -> None:
        """For the hub: a front is gone, and what it counted with it. `clients`: how many have numbers."""
        for count in Count:
            self.set(front, count, 0)
        for client in range(min(clients, MAX_CLIENTS)):
            self.set_calls(front, client, 0)

    def close(self) -> None:
        """Closes the descriptor; the numbers stay readable."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class SharedBudget(BufferBudget):
    """max_buffered_bytes over all fronts."""

    __slots__ = ("_counters", "_front", "_limit")

    def __init__(self, options: Callable[[], Options], counters: Counters, front: int) -> None:
        super().__init__(self._limit_here)
        self._limit = options
        self._counters = counters
        self._front = front

    def _limit_here(self) -> int:
        return self._limit().max_buffered_bytes - self._counters.of_others(self._front, Count.BUFFERED)

    def take(self, size_bytes: int) -> bool:
        """What this front and the others have counted together."""
        is_taken = super().take(size_bytes)
        self._counters.set(self._front, Count.BUFFERED, self.used_bytes)
        return is_taken

    def give(self, size_bytes: int) -> None:
        """What this front and the others have counted together."""
        super().give(size_bytes)
        self._counters.set(self._front, Count.BUFFERED, self.used_bytes)
