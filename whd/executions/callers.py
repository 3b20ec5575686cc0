"""Callers that wait for their executions' ends, each at most wait_s."""

from __future__ import annotations

import asyncio

from .live import Live

# How late a caller may hear that wait_s is over.
EXPIRY_INTERVAL_S = 0.05


class Callers:
    """One timer for all: setting and stopping one for each call costs more than everything else about it.

    `until`: whose callers wait, and until when on the loop's clock. Who has heard of an end is taken out.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.until: dict[Live, float] = {}
        self._next_expiry = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, live: Live) -> None:
        """A caller waits from now on; after wait_s, `live.stop_waiting` is called."""
        deadline = self._loop.time() + live.limits.wait_s
        if not self.until or deadline < self._next_expiry:
            self._next_expiry = deadline
        self.until[live] = deadline
        if self._timer is None:
            self._timer = self._loop.call_later(EXPIRY_INTERVAL_S, self._expire)

    def _expire(self) -> None:
        """Sends away those whose wait_s is over."""
        self._timer = self._loop.call_later(EXPIRY_INTERVAL_S, self._expire) if self.until else None
        now = self._loop.time()
        if now < self._next_expiry or not self.until:
            return
        over = [live for live, deadline in self.until.items() if deadline <= now]
        for live in over:
            del self.until[live]
            if live.stop_waiting is not None:
                live.stop_waiting(live)
        self._next_expiry = min(self.until.values(), default=0.0)

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
