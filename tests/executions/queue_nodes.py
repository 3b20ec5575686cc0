"""A queue that several nodes share, in memory: what a database will do, with a clock that a test turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whd.executions.queue import Claim
from whd.store.interface import Stored

LEASE_S = 10.0


@dataclass
class Entry:
    stored: Stored
    epoch: int = 0
    owner: Node | None = None


class SharedQueue:
    """All nodes' executions. `now_s`: the clock by which leases run out."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.entries: dict[str, Entry] = {}

    def node(self) -> Node:
        return Node(self)


class Node:
    """Queue of one node. What a node holds whose lease has run out, another one's claim takes."""

    def __init__(self, queue: SharedQueue) -> None:
        self._queue = queue
        self._held: dict[str, int] = {}
        self.lease_until_s = queue.now_s + LEASE_S

    async def offer(self, stored: Stored) -> None:
        self._queue.entries.setdefault(stored.execution.id, Entry(stored))

    async def claim(self, most: int) -> Sequence[Claim]:
        self.lease_until_s = self._queue.now_s + LEASE_S
        claims: list[Claim] = []
        for execution_id, entry in sorted(self._queue.entries.items()):
            is_free = entry.owner is None or (entry.owner is not self and entry.owner.lease_until_s < self._queue.now_s)
            if is_free and len(claims) < most:
                entry.owner, entry.epoch = self, entry.epoch + 1
                self._held[execution_id] = entry.epoch
                claims.append(Claim(entry.stored, entry.epoch))
        return claims

    async def renew(self) -> Sequence[str]:
        self.lease_until_s = self._queue.now_s + LEASE_S
        lost = [execution_id for execution_id, epoch in self._held.items() if not self._stands(execution_id, epoch)]
        for execution_id in lost:
            del self._held[execution_id]
        return lost

    def _stands(self, execution_id: str, epoch: int) -> bool:
        entry = self._queue.entries.get(execution_id)
        return entry is not None and entry.owner is self and entry.epoch == epoch

    def finish(self, execution_id: str, epoch: int) -> bool:
        if not self._stands(execution_id, epoch):
            return False
        del self._queue.entries[execution_id], self._held[execution_id]
        return True

    def release(self, execution_id: str, epoch: int) -> None:
        if self._stands(execution_id, epoch):
            self._queue.entries[execution_id].owner = None
            del self._held[execution_id]
