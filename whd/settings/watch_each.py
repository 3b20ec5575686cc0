"""Each folder, and each file that lies apart, is watched with inotify and, where that does not see all, polled as well.

What inotify does not see: what others change on a file system that they share, through another name of a file (a hard
link, a mount of the file alone), or behind a link on the way. Both ways have to agree that a file may be read: a writer
on this machine is known to be done by inotify, one elsewhere by standing still.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

from . import inotify
from .links import follow
from .mounts import MountTable
from .watch import Changes, Watcher
from .watch_inotify import InotifyWatcher
from .watch_polling import PollingWatcher


class EachWatcher(Watcher):
    """A Watcher that decides for each path. Raises OSError if the kernel gives no inotify at all."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None], *, roots: Iterable[str]) -> None:
        self._on_change = on_change
        self._roots = frozenset(roots)
        self._inotify = InotifyWatcher(loop, on_change, roots=roots)
        self._polling = PollingWatcher(loop, on_change, roots=())
        self._mounts = MountTable(loop, self._remounted)
        self._has_remounted = False
        self._polled: dict[str, str] = {}
        # Where a folder really lies, to tell whether a file of it is a mount.
        self._real: dict[str, str] = {}

    @property
    def failure(self) -> str:
        return self._inotify.failure

    @property
    def polled(self) -> dict[str, str]:
        return self._polled

    @property
    def watched_count(self) -> int:
        return sum(path not in self._polled for path in self._real)

    @property
    def has_unsettled(self) -> bool:
        return self._inotify.has_unsettled or self._polling.has_unsettled

    def take(self) -> Changes:
        changes, others = self._inotify.take(), self._polling.take()
        changes.paths |= others.paths
        changes.everything = changes.everything or others.everything or self._has_remounted
        self._has_remounted = False
        return changes

    def close(self) -> None:
        self._mounts.close()
        self._inotify.close()
        self._polling.close()

    def cover_folder(self, path: str) -> None:
        """Watches the folder, and polls it where that may not be enough."""
        self._inotify.cover_folder(path)
        self._real[path] = os.path.realpath(path)
        if why := self._why_folder(path):
            self._polled[path] = why
            self._polling.cover_folder(path)
        elif self._polled.pop(path, None):
            self._polling.forget(path)

    def cover_file(self, path: str, status: os.stat_result | None, *, is_link: bool) -> bool:
        """Also polls a file of a folder that is not polled, where the file itself calls for it."""
        self._inotify.cover_file(path, status, is_link=is_link)
        folder, name = os.path.split(path)
        why = ""
        if folder in self._polled:
            self._polling.cover_file(path, status, is_link=is_link)
        elif status is not None:
            why = self._why_file(path, folder, name, status, is_link)
        if why:
            is_new = path not in self._polled
            self._polled[path] = why
            if is_new:
                self._polling.cover_single(path)
            return is_new or is_link
        if self._polled.pop(path, None):
            self._polling.forget(path)
        return is_link

    def forget(self, path: str) -> None:
        self._inotify.forget(path)
        self._polling.forget(path)
        self._polled.pop(path, None)
        self._real.pop(path, None)

    def may_read(self, path: str, status: os.stat_result) -> bool:
        return self._inotify.may_read(path, status) and (
            not self._is_polled(path) or self._polling.may_read(path, status)
        )

    def is_still(self, path: str) -> bool:
        return self._inotify.is_still(path) and (not self._is_polled(path) or self._polling.is_still(path))

    def look_again(self, path: str) -> None:
        self._inotify.look_again(path)

    def _is_polled(self, path: str) -> bool:
        return bool(self._polled) and (path in self._polled or os.path.dirname(path) in self._polled)

    def _remounted(self) -> None:
        self._has_remounted = True
        self._on_change()

    # ---- what inotify does not see -----------------------------------------------------------------------------------

    def _why_folder(self, path: str) -> str:
        """Why watching a folder is not enough; "" if it is, or nothing is there."""
        if not os.path.isdir(path):
            return ""
        if silent := inotify.silent_file_system(path):
            return silent
        if (path in self._roots or os.path.islink(path)) and (silent := _silent_on_the_way(path)):
            return f"a link on {silent} leads there"
        return "" if self._inotify.watches(path) else "it cannot be watched"

    def _why_file(self, path: str, folder: str, name: str, status: os.stat_result, is_link: bool) -> str:
        if status.st_nlink > 1:
            return "has several names"
        real = os.path.realpath(path) if is_link else f"{self._real.get(folder, folder)}/{name}"
        if real in self._mounts.points:
            return "is mounted by itself"
        if is_link and (silent := inotify.silent_file_system(path) or _silent_on_the_way(path)):
            return f"leads to {silent}"
        return ""


def _silent_on_the_way(path: str) -> str:
    """The file system of the first link on the way that may be changed without an event here, "" without one."""
    folders: list[str] = []
    # An absolute one needs no working folder, which may be gone.
    follow(path if os.path.isabs(path) else os.path.join(os.getcwd(), path), folders.append)
    return next(filter(None, map(inotify.silent_file_system, dict.fromkeys(folders))), "")
