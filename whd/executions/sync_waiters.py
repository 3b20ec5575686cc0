"""Callers that wait for their executions' ends, each at most wait_s."""

from __future__ import annotations

import asyncio

from .active import ActiveExecution

# How late a caller may hear that wait_s is over.
EXPIRY_INTERVAL_S = 0.05


class SyncWaiters:
    """One timer for all: setting and stopping one for each call costs more than everything else about it.

    `until`: whose callers wait, and until when on the loop's clock. Who has heard of an end is taken out.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.until: dict[ActiveExecution, float] = {}
        self._next_expiry = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, active: ActiveExecution) -> None:
        """A caller waits from now on; after wait_s, `active.stop_waiting` is called."""
        deadline = self._loop.time() + active.limits.wait_s
        if not self.until or deadline < self._next_expiry:
            self._next_expiry = deadline
        self.until[active] = deadline
        if self._timer is None:
            self._timer = self._loop.call_later(EXPIRY_INTERVAL_S, self._expire)

    def _expire(self) -> None:
        """Sends away those whose wait_s is over."""
        self._timer = self._loop.call_later(EXPIRY_INTERVAL_S, self._expire) if self.until else None
        now = self._loop.time()
        if now < self._next_expiry or not self.until:
            return
        over = [active for active, deadline in self.until.items() if deadline <= now]
        for active in over:
            del self.until[active]
            if active.stop_waiting is not None:
                active.stop_waiting(active)
        self._next_expiry = min(self.until.values(), default=0.0)

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
