"""Which node runs an execution that nobody runs, and that of two nodes only one keeps its end. Nothing here does I/O.

*Owner first*: what a node accepts (a sync call, an async call, their children) is its own from the start and never
comes through here; nothing of the queue is on the way of a call. Through the queue come executions that nobody runs:
those that a stop interrupted and, where several nodes have one queue, those that were offered to all of them.

A claim has an *epoch*, which is higher with each claim of the same execution. It fences: whose claim was overtaken (its
node was taken for dead, and another one claimed the execution) ends with a number that does not stand any more, and
its end is dropped. It is not `Execution.attempts`, which counts how often the flow began.

The pool's scheduler is no queue in this sense. It is the local line of what this node runs already: which of its jobs
gets the next slot. It is pure and knows nothing of nodes, claims or the disk.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..store.interface import Stored


@dataclass(frozen=True, slots=True)
class Claim:
    """An execution that is this node's to run, as it was stored. `epoch`: at least 1."""

    stored: Stored
    epoch: int


class Queue(Protocol):
    """One node's view of the queue. Called on the loop; what a method cannot read or write is a StateError."""

    async def offer(self, stored: Stored) -> None:
        """Leaves an execution that has not ended to the node that claims it; one that waits already waits once."""

    async def claim(self, most: int) -> Sequence[Claim]:
        """At most so many, the oldest first; none while there are none. No other node gets them until `release`."""

    async def renew(self) -> Sequence[str]:
        """Keeps what this node has claimed for another while. Gives the ids of what it lost: `Runner.disown` them."""

    def finish(self, execution_id: str, epoch: int) -> bool:
        """The execution ended under this claim. False: it was overtaken, and nothing of this attempt may be kept.

        That is what is known here, at once. A store that several nodes write checks it again as it writes the end.
        """

    def release(self, execution_id: str, epoch: int) -> None:
        """Gives back what has not begun to run; harmless for a claim that was overtaken."""


def _owns_all(_execution_id: str) -> bool:
    return True


class LocalQueue:
    """The queue of a node that shares it with none: what a stop interrupted, read at the first claim.

    `interrupted`: reads what had not ended, for the first claim alone: from then on this node runs such executions.
    `owns`: which of them by their ids, where several processes have one store and each of them its own part.
    """

    def __init__(
        self, interrupted: Callable[[], Awaitable[Sequence[Stored]]], owns: Callable[[str], bool] = _owns_all
    ) -> None:
        self._interrupted: Callable[[], Awaitable[Sequence[Stored]]] | None = interrupted
        self._owns = owns
        self._waiting: dict[str, Stored] = {}
        # A heap of the ids in `_waiting`: a UUIDv7 sorts by time.
        self._oldest: list[str] = []
        self._claimed: dict[str, Claim] = {}
        self._epoch = 0

    async def offer(self, stored: Stored) -> None:
        self._add(stored)

    def _add(self, stored: Stored) -> None:
        execution_id = stored.execution.id
        if execution_id not in self._waiting:
            self._waiting[execution_id] = stored
            heapq.heappush(self._oldest, execution_id)

    async def claim(self, most: int) -> Sequence[Claim]:
        read, self._interrupted = self._interrupted, None
        if read is not None:
            try:
                found = await read()
            except BaseException:
                self._interrupted = read
                raise
            for stored in found:
                if self._owns(stored.execution.id):
                    self._add(stored)
        claims = []
        for _ in range(min(most, len(self._oldest))):
            self._epoch += 1
            claim = Claim(self._waiting.pop(heapq.heappop(self._oldest)), self._epoch)
            self._claimed[claim.stored.execution.id] = claim
            claims.append(claim)
        return claims

    async def renew(self) -> Sequence[str]:
        """Nobody else is there to take anything."""
        return ()

    def finish(self, execution_id: str, epoch: int) -> bool:
        claim = self._claimed.get(execution_id)
        if claim is None or claim.epoch != epoch:
            return False
        del self._claimed[execution_id]
        return True

    def release(self, execution_id: str, epoch: int) -> None:
        claim = self._claimed.get(execution_id)
        if claim is not None and self.finish(execution_id, epoch):
            self._add(claim.stored)
