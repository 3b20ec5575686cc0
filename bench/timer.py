"""A timer that wakes an event loop with the precision of the kernel's clock.

uvloop's own timers count in milliseconds, which is longer than most answers take. A timerfd (timerfd_create(2)) wakes
the loop's epoll like a socket does. os.timerfd_create exists from Python 3.13 on; ctypes serves all versions alike.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


class Timer:
    """Calls `due` on `loop` at the time last armed for. The one who makes it closes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> None:
        """Raises OSError where the kernel has no timer to give."""
        self._loop = loop
        self._fd = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)
        loop.add_reader(self._fd, due)

    def arm(self, at_s: float) -> None:
        """Fires once, at that time.perf_counter(), or at once if it has passed. Clears an expiry not yet seen."""
        # A value of 0 would disarm; the past fires at once (timerfd_settime(2)).
        nanoseconds = max(1, int(at_s * 1e9))
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(nanoseconds, 1_000_000_000)
        _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, self._reference, None)

    def disarm(self) -> None:
        """Fires no more."""
        value = self._spec.value
        value.seconds = value.nanoseconds = 0
        _libc.timerfd_settime(self._fd, 0, self._reference, None)

    def close(self) -> None:
        """Gives the descriptor back."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
