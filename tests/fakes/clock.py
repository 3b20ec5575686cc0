"""A loop whose clock is not the wall's: when nobody can go on, it is at once as late as the next timer says.

So an hour's sleep takes no time, and a test that waits for what nothing will ever do fails at once instead of hanging.
Only for what has its whole world on the loop: no threads, no processes, no sockets.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


class NothingToWaitFor(AssertionError):
    """Everybody waits, and no timer runs."""


class _Selector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise NothingToWaitFor
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """`time()` is how many seconds its timers have let pass."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def on_virtual_clock(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an async test on a loop of its own, whose waits take no time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def settle() -> None:
    """Returns once all that needs no timer has happened: everything that is ready, and what becomes ready by it."""
    # With a timer of no length the loop first comes to rest, since a jump of the clock is the last thing that it does.
    await asyncio.sleep(1e-6)
