"""One loop timer for each connection, armed anew as seldom as possible.

A deadline that moves away, as that of a busy keep-alive connection does with every request, only stores a number: the
timer that was armed for the old one finds out when it fires. Only a deadline that comes closer arms a new timer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls `expired` once `at`, a time of the loop's clock, has passed. Set `at` to math.inf for none."""

    __slots__ = ("_expired", "_fires_at", "_loop", "_timer", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self.at = math.inf
        """May be stored into directly where it only moves away; else use set_s()."""
        self._loop = loop
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf

    def set_s(self, seconds: float) -> None:
        """The deadline is `seconds` from now."""
        self._arm(self._loop.time() + seconds)

    def cancel(self) -> None:
        """Nothing is called any more."""
        self.at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._fires_at = math.inf

    def _arm(self, at: float) -> None:
        self.at = at
        if at < self._fires_at:
            if self._timer is not None:
                self._timer.cancel()
            self._fires_at = at
            self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._fires_at = math.inf
        if self.at is math.inf:
            return
        # A loop may fire a little early, by its clock's resolution: never arm for the same moment again.
        if self._loop.time() + 0.001 < self.at:
            self._arm(self.at)
            return
        self.at = math.inf
        self._expired()
