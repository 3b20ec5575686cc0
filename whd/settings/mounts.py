"""Where something is mounted, and that this has changed: proc(5), /proc/[pid]/mountinfo.

A file that is mounted by itself (`docker run -v file:file`, `mount --bind`) is written through another folder than the
one that it is seen in, so a watch on that folder sees nothing; nor does any watch see a mount come or go.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
from collections.abc import Callable
from typing import Final

_FILE: Final = "/proc/self/mountinfo"
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class MountTable:
    """The mounts that this process sees; `on_change` is called on the loop. Without /proc there are none."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None]) -> None:
        self.points: frozenset[str] = frozenset()
        self._loop = loop
        self._on_change = on_change
        self._fd = -1
        self._epoll: select.epoll | None = None
        try:
            self._fd = os.open(_FILE, os.O_RDONLY | os.O_CLOEXEC)
            self.points = _points(self._fd)
            # The file says with POLLPRI that it has changed, which a loop does not ask for; an epoll(7) descriptor that
            # does is itself readable then.
            self._epoll = select.epoll()
            self._epoll.register(self._fd, select.EPOLLPRI | select.EPOLLERR)
            loop.add_reader(self._epoll.fileno(), self._changed)
        except OSError:
            self.close()

    def close(self) -> None:
        """Ends it. Harmless twice."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _changed(self) -> None:
        # That it is asked (mounts_poll in the kernel) has made it quiet again until the next change.
        try:
            self.points = _points(self._fd)
        except OSError:
            self.close()
            return
        # Another file may be mounted where one was.
        self._on_change()


def _points(fd: int) -> frozenset[str]:
    os.lseek(fd, 0, os.SEEK_SET)
    parts = []
    while part := os.read(fd, 65_536):
        parts.append(part)
    # Number, parent, device, root, mount point, …; spaces in names stand as \040.
    rows = [row.split(b" ", 5) for row in b"".join(parts).splitlines()]
    return frozenset(os.fsdecode(_ESCAPE.sub(_unescaped, row[4])) for row in rows if len(row) == 6)


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 8),))
