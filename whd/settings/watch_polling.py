"""Watching without the kernel's help: every covered folder is listed again and again, and compared.

A file counts once its size and times stood still for QUIET_S, so a writer that rests longer than that in the middle of
a file is read half-way: inotify knows better and is used wherever it exists.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from .tree import is_ignored
from .watch import QUIET_S, Changes, DirtyPaths, Watcher, is_recent

INTERVAL_S: Final = 0.2
# A tree so large that a round takes long is looked at less often, so that watching takes a tenth of a core; but not so
# seldom that a change needs more than a second.
_SHARE: Final = 10
_LONGEST_INTERVAL_S: Final = 0.6
# Files that are moving are few, and looked at more often, so that their time of rest is noticed when it is over.
_TICK_S: Final = 0.05
_SLICE_S: Final = 0.002
_LARGE: Final = 500

_Signature = tuple[int, ...]


@dataclass(slots=True)
class _Look:
    """A folder at one moment: its entries, None if it cannot be read, and what differs once an entry comes or goes.

    `stamp` is None when that happened just now: two changes in one tick of the file system's clock leave the same.
    """

    stamp: _Signature | None = None
    entries: dict[str, _Signature] | None = field(default_factory=dict)


class PollingWatcher(Watcher):
    """A Watcher that looks every INTERVAL_S, and rests while it covers nothing."""

    failure = ""
    watched_count = 0

    def __init__(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None], *, roots: Iterable[str]) -> None:
        self._dirty = DirtyPaths(loop, on_change)
        self._folders: dict[str, _Look] = {}
        # Files of folders that are not looked at.
        self._singles: dict[str, _Signature] = {}
        self._has_work = asyncio.Event()
        self._moving: dict[str, tuple[_Signature, float]] = {}
        for root in roots:
            self.cover_folder(root)
        self._task = loop.create_task(self._run(), name="whd settings polling")

    @property
    def polled(self) -> dict[str, str]:
        return dict.fromkeys((*self._folders, *self._singles), "inotify is not to be had")

    @property
    def has_unsettled(self) -> bool:
        return bool(self._moving) or self._dirty.has_later

    def take(self) -> Changes:
        return self._dirty.take()

    def close(self) -> None:
        self._task.cancel()
        self._dirty.close()

    def cover_folder(self, path: str) -> None:
        """From here on differences to what stands in the folder now are reported."""
        if path not in self._folders:
            self._folders[path] = _look_at(path)
            self._has_work.set()

    def cover_file(self, path: str, status: os.stat_result | None, *, is_link: bool) -> bool:
        """From here on differences to what the path leads to now are reported."""
        folder, name = os.path.split(path)
        look = self._folders.get(folder)
        if is_link and look is not None and look.entries is not None:
            look.entries[name] = _followed(path)
        return is_link

    def cover_single(self, path: str) -> None:
        """`cover_folder` for one file alone, and for what it leads to."""
        if path not in self._singles:
            self._singles[path] = _followed(path)
            self._has_work.set()

    def forget(self, path: str) -> None:
        self._folders.pop(path, None)
        self._singles.pop(path, None)
        self._moving.pop(path, None)

    def may_read(self, path: str, status: os.stat_result) -> bool:
        """Whether the file stood still."""
        if path in self._moving:
            return False
        if is_recent(status):
            self._moving[path] = (_signature(status), time.monotonic())
            return False
        return True

    def is_still(self, path: str) -> bool:
        """Whether nothing was seen meanwhile; the next round sees the rest."""
        return path not in self._moving

    def look_again(self, path: str) -> None:
        self._dirty.add_later(path)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = INTERVAL_S
        while True:
            if not self._folders and not self._singles:
                self._has_work.clear()
                await self._has_work.wait()
            next_round = loop.time() + pause
            while (left := next_round - loop.time()) > 0:
                await asyncio.sleep(min(left, _TICK_S))
                self._look_at_moving()
            pause = min(max(INTERVAL_S, await self._look_at_all() * _SHARE), _LONGEST_INTERVAL_S)

    async def _look_at_all(self) -> float:
        """One round, in slices; gives the time that it took."""
        loop = asyncio.get_running_loop()
        taken = 0.0
        slice_start = loop.time()
        for folder in list(self._folders):
            before = self._folders.get(folder)
            if before is not None and before.entries is not None and len(before.entries) > _LARGE:
                now = await loop.run_in_executor(None, _look_at, folder)
            else:
                now = _look_at(folder)
            self._compare(folder, now)
            if (elapsed := loop.time() - slice_start) > _SLICE_S:
                taken += elapsed
                await asyncio.sleep(0)
                slice_start = loop.time()
        for path, signature in list(self._singles.items()):
            self._look_at_single(path, signature)
        return taken + loop.time() - slice_start

    def _look_at_single(self, path: str, before: _Signature) -> None:
        signature = _followed(path)
        if signature != before and path in self._singles:
            self._singles[path] = signature
            if not self._is_moving_file(path, signature):
                self._dirty.add(path)

    def _look_at_moving(self) -> None:
        rested = []
        for path in list(self._moving):
            try:
                signature = _signature(os.stat(path))
            except OSError:
                del self._moving[path]
                rested.append(path)
                continue
            if self._came_to_rest(path, signature):
                rested.append(path)
        if rested:
            self._dirty.add(*rested)

    def _compare(self, folder: str, look: _Look) -> None:
        if folder not in self._folders:
            return
        last, self._folders[folder] = self._folders[folder], look
        before, now = last.entries, look.entries
        if before is None or now is None:
            if before is not now:
                self._dirty.add(folder)
            return
        gone = [os.path.join(folder, name) for name in before.keys() - now.keys()]
        changed = list(gone)
        if last.stamp is None or last.stamp != look.stamp:
            # A read between the two looks may have met what both of them missed, as an entry that was there for a
            # moment, or one that was away.
            changed.append(folder)
        for path in gone:
            self._moving.pop(path, None)
        for name, signature in now.items():
            if before.get(name) != signature:
                path = os.path.join(folder, name)
                if not self._is_moving_file(path, signature):
                    changed.append(path)
        if changed:
            self._dirty.add(*changed)

    def _is_moving_file(self, path: str, signature: _Signature) -> bool:
        """Notes a file that changed; folders and links that lead nowhere have nothing that could be half written."""
        if len(signature) == 1:
            return False
        if self._moving.get(path, ((), 0.0))[0] != signature:
            self._moving[path] = (signature, time.monotonic())
        return True

    def _came_to_rest(self, path: str, signature: _Signature) -> bool:
        known, since = self._moving[path]
        now = time.monotonic()
        if known != signature:
            self._moving[path] = (signature, now)
            return False
        if now - since < QUIET_S:
            return False
        del self._moving[path]
        return True


def _look_at(folder: str) -> _Look:
    """Every entry that is not ignored, with what would differ if it changed."""
    entries: dict[str, _Signature] = {}
    try:
        status = os.stat(folder)
        with os.scandir(folder) as found:
            for entry in found:
                if not is_ignored(entry.name):
                    entries[entry.name] = _followed(entry.path)
    except OSError:
        return _Look(entries=None)
    stamp = None if is_recent(status) else (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    return _Look(stamp, entries)


def _followed(path: str) -> _Signature:
    try:
        return _signature(os.stat(path))
    except OSError as error:
        return (-(error.errno or 1),)


def _signature(status: os.stat_result) -> _Signature:
    if stat.S_ISDIR(status.st_mode):
        return (hash((status.st_dev, status.st_ino, status.st_mode)),)
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
