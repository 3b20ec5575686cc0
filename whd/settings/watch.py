"""Noticing that a file changed: what the index and the reloader need of a watcher, and what both watchers share.

inotify is used where the kernel gives it, polling where it is missing or exhausted, and both where inotify does not see
all (watch_each.py). They say which paths to look at again, and whether a file may be read now: not while somebody still
writes it. Paths are those of the tree, as the index spells them, also where a link leads elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

# How long a file's size and times must stand still where nothing shows that its writer is done (CONTRACT 2).
QUIET_S: Final = 0.2


@dataclass(slots=True)
class Changes:
    """What to look at again: `paths` of files and folders, or `everything`; `force`: read also what looks the same."""

    paths: set[str] = field(default_factory=set)
    everything: bool = False
    force: bool = False

    def __bool__(self) -> bool:
        return self.everything or bool(self.paths)


class Watch(Protocol):
    """What the index needs of a watcher. Every path is one that the index was given or found itself."""

    def cover_folder(self, path: str) -> None:
        """Called before a folder is listed: from here on its changes are noticed. It may be missing."""

    def cover_file(self, path: str, status: os.stat_result | None, *, is_link: bool) -> bool:
        """Called when a file was looked at, `status` None where that failed: from here on its changes are noticed.

        Gives whether they were not before: then it has to be looked at once more.
        """

    def forget(self, path: str) -> None:
        """Called when a folder or file is gone."""

    def may_read(self, path: str, status: os.stat_result) -> bool:
        """Whether the file's writer is done with it. If not, the path is reported again when it may be so."""

    def is_still(self, path: str) -> bool:
        """Called after reading: whether nothing happened to the file meanwhile. If not, it is reported again."""

    def look_again(self, path: str) -> None:
        """Reports the path again in a while: an obstacle was met that will not announce its end."""


class Watcher(Watch, Protocol):
    """What the reloader owns."""

    @property
    def failure(self) -> str:
        """Why this way of watching no longer works, "" while it does."""

    @property
    def polled(self) -> Mapping[str, str]:
        """The folders and files that are looked at again and again, each with the reason."""

    @property
    def watched_count(self) -> int:
        """How many folders the kernel tells of."""

    @property
    def has_unsettled(self) -> bool:
        """Whether a file has not stood still for long enough yet."""

    def take(self) -> Changes:
        """All changes since the last call."""

    def close(self) -> None:
        """Ends it; closes what it opened. Harmless twice."""


class NotWatching(Watch):
    """For a single look, as by `whd check`: everything may be read as it is."""

    def cover_folder(self, path: str) -> None:
        pass

    def cover_file(self, path: str, status: os.stat_result | None, *, is_link: bool) -> bool:
        return False

    def forget(self, path: str) -> None:
        pass

    def may_read(self, path: str, status: os.stat_result) -> bool:
        return True

    def is_still(self, path: str) -> bool:
        return True

    def look_again(self, path: str) -> None:
        pass


class DirtyPaths:
    """The changes that were noticed and not yet taken; calls `on_change` for each one, on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None]) -> None:
        self._loop = loop
        self._on_change = on_change
        self._changes = Changes()
        self._later: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, *paths: str) -> None:
        """Reports these paths."""
        self._changes.paths.update(paths)
        self._on_change()

    def add_everything(self) -> None:
        """Reports that anything may have changed."""
        self._changes.everything = True
        self._on_change()

    def add_later(self, path: str) -> None:
        """Reports the path once QUIET_S have passed."""
        self._later.add(path)
        if self._timer is None:
            self._timer = self._loop.call_later(QUIET_S, self._report_later)

    def _report_later(self) -> None:
        paths, self._later, self._timer = self._later, set(), None
        self.add(*paths)

    @property
    def has_later(self) -> bool:
        """Whether paths wait for their time."""
        return bool(self._later)

    def holds(self, path: str) -> bool:
        """Whether the path was reported and not yet taken."""
        return path in self._changes.paths

    def take(self) -> Changes:
        """The changes so far; a new collection begins."""
        changes, self._changes = self._changes, Changes()
        return changes

    def close(self) -> None:
        """Reports nothing from here on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_change = _ignore


def _ignore() -> None:
    return None


def is_recent(status: os.stat_result) -> bool:
    """Whether the file changed less than QUIET_S ago. A time in the future (another machine's clock) is not recent."""
    return 0 <= time.time() - status.st_ctime < QUIET_S
