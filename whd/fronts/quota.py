"""PoolQuota of one front: slots by lease from the hub, worker processes counted together in shared memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..model.options import Options
from .counters import Count, Counters
from .leases import LeasedScheduler, SlotSupervisor
from .link import Link
from .partition import front_options


class FrontQuota(SlotSupervisor):
    """PoolQuota of one front among `fronts`, and its scheduler's way to the hub.

    `client_numbers`: where each client's calls are counted (counters.py); the hub gives them out.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, link: Link, counters: Counters, front: int, fronts: int
    ) -> None:
        self._link = link
        self._counters = counters
        self._front = front
        self._fronts = fronts
        self.is_first = front == 0
        own = Options()
        self._divided = own, front_options(own, front, fronts)
        self.client_numbers: dict[str, int] = {}
        self.scheduler = LeasedScheduler(self, loop.call_later, counters, front, self.client_numbers)

    def share_worker_count(self, count: int) -> int:
        """Publishes how many workers this front has; gives how many the others have."""
        self._counters.set(self._front, Count.WORKERS, count)
        return self._counters.of_others(self._front, Count.WORKERS)

    def has_idle_elsewhere(self) -> bool:
        return self._counters.of_others(self._front, Count.IDLE) > 0

    def options_of_pool(self, options: Callable[[], Options]) -> Callable[[], Options]:
        """The present options with this front's part of what is kept ahead; made anew when they change."""

        def divided() -> Options:
            present = options()
            if self._divided[0] is not present:
                self._divided = present, front_options(present, self._front, self._fronts)
            return self._divided[1]

        return divided

    def report_slots(self, *, wants: int, held: int, number: int) -> None:
        self._link.tell("slots", wants=wants, held=held, number=number)

    def ask_permit(self, client_name: str, running: int, answered: Callable[[bool], None]) -> None:
        def permitted(head: dict[str, Any] | None, _value: bytes | None) -> None:
            answered(head is not None and head["may"])

        self._link.ask(permitted, "permit", client=client_name, running=running)
