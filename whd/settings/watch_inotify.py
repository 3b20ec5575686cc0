"""Watching with inotify: every folder that is read, and every folder that a link on the way there goes through.

A file counts as being written from its creation or first change until its writer closes or renames it. What inotify
does not show (a file that was there when its folder was first watched, what lies behind a swapped link) counts once its
last change is QUIET_S old.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable
from typing import Final

from . import inotify
from .links import Entry, follow
from .tree import is_ignored
from .watch import Changes, DirtyPaths, Watch, is_recent

# For a folder whose files are read, and for one that only holds a link or a root.
_FULL: Final = (
    inotify.CREATE | inotify.MODIFY | inotify.ATTRIB | inotify.CLOSE_WRITE | inotify.MOVED_FROM | inotify.MOVED_TO
    | inotify.DELETE | inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.ONLYDIR | inotify.MASK_ADD
)  # fmt: skip
_NAMES: Final = (
    inotify.CREATE | inotify.ATTRIB | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.DELETE | inotify.DELETE_SELF
    | inotify.MOVE_SELF | inotify.ONLYDIR | inotify.MASK_ADD
)  # fmt: skip

# inotify_add_watch(2): ENOSPC is the limit of watches; ENOMEM is the kernel's.
_EXHAUSTED = (errno.ENOSPC, errno.ENOMEM)


class _Watched:
    """One kernel watch: the tree's folders that lead here, the paths that hang on an entry, the state of its files.

    `writing`: files whose writer is not done; False while one was only created. `settled`: files whose writer is.
    """

    __slots__ = ("folders", "hanging", "settled", "writing")

    def __init__(self) -> None:
        self.folders: set[str] = set()
        self.hanging: dict[str, set[str]] = {}
        self.writing: dict[str, bool] = {}
        self.settled: set[str] = set()


class InotifyWatcher(Watch):
    """A Watch over one inotify descriptor. Raises OSError if the kernel gives none.

    `failure`: why it sees no longer what it should, "" while it does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None], *, roots: Iterable[str]) -> None:
        self.failure = ""
        self._loop = loop
        self._dirty = DirtyPaths(loop, on_change)
        self._roots = frozenset(roots)
        self._watched: dict[int, _Watched] = {}
        self._folder_wds: dict[str, int] = {}
        self._chains: dict[str, list[tuple[int, str]]] = {}
        self._ends: dict[str, tuple[int, str] | None] = {}
        self._fd = inotify.initialise()
        loop.add_reader(self._fd, self._drain)

    @property
    def has_unsettled(self) -> bool:
        """Whether a file has not stood still for long enough yet."""
        return self._dirty.has_later

    def take(self) -> Changes:
        """All changes since the last call, those included that the loop has not reported yet."""
        self._drain()
        return self._dirty.take()

    def close(self) -> None:
        """Ends it. Harmless twice."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._dirty.close()

    # What the index asks

    def cover_folder(self, path: str) -> None:
        """Watches the folder, and where it is a root or a link, the entries that lead to it."""
        wd = self._add(path, _FULL)
        before = self._folder_wds.pop(path, None)
        if wd is not None:
            self._watched[wd].folders.add(path)
            self._folder_wds[path] = wd
        if before is not None and before != wd:
            self._watched_release(before, path)
        if path in self._roots or os.path.islink(path):
            self._hang(path, is_file=False)
        elif path in self._chains:
            self._unhang(path)

    def watches(self, path: str) -> bool:
        """Whether changes in the folder are reported."""
        return path in self._folder_wds

    def cover_file(self, path: str, status: os.stat_result | None, *, is_link: bool) -> bool:
        """Watches each step of a link; drops those of a file that was one."""
        if is_link:
            self._hang(path, is_file=True)
        elif path in self._chains:
            self._unhang(path)
        return is_link

    def forget(self, path: str) -> None:
        if path in self._chains:
            self._unhang(path)
        wd = self._folder_wds.pop(path, None)
        if wd is not None:
            self._watched_release(wd, path)

    def may_read(self, path: str, status: os.stat_result) -> bool:
        """True once the writer closed or renamed it, or, if nothing shows that, once its last change is old enough."""
        watched, name = self._location(path)
        if watched is not None:
            if name in watched.settled:
                return True
            changed = watched.writing.get(name)
            if changed or (changed is False and status.st_size == 0):
                return False
            # Created and never changed, yet not empty: linked into place (open(2), O_TMPFILE), so no close will come.
        if is_recent(status):
            self._dirty.add_later(path)
            return False
        return True

    def is_still(self, path: str) -> bool:
        """Whether no event came for the file while it was read; the kernel queues them before a write returns."""
        self._drain()
        watched, name = self._location(path)
        if watched is not None and watched.writing.get(name):
            return False
        return not self._dirty.holds(path)

    def look_again(self, path: str) -> None:
        self._dirty.add_later(path)

    # Kernel watches

    def _add(self, path: str, mask: int) -> int | None:
        if self._fd < 0 or self.failure:
            return None
        try:
            wd = inotify.add_watch(self._fd, path, mask)
        except OSError as error:
            # Missing, no folder, not allowed: the index finds out itself, and the parent's watch tells of a change.
            if error.errno in _EXHAUSTED:
                self.failure = f"no more inotify watches ({error.strerror}); see fs.inotify.max_user_watches"
                self._dirty.add_everything()
            return None
        self._watched.setdefault(wd, _Watched())
        return wd

    def _watched_release(self, wd: int, folder: str | None = None) -> None:
        watched = self._watched.get(wd)
        if watched is None:
            return
        if folder is not None:
            watched.folders.discard(folder)
        if not watched.folders and not watched.hanging:
            del self._watched[wd]
            inotify.remove_watch(self._fd, wd)

    def _hang(self, path: str, *, is_file: bool) -> None:
        """Makes the path depend on every link on its way and on what stands at the end."""
        folders: dict[str, int | None] = {}

        def watch(folder: str) -> None:
            if folder not in folders:
                folders[folder] = self._add(folder, _FULL if is_file else _NAMES)

        links, end = follow(path if os.path.isabs(path) else os.path.join(os.getcwd(), path), watch)
        chain: list[tuple[int, str]] = []

        def hang(entry: Entry) -> tuple[int, str] | None:
            wd = folders.get(entry[0])
            if wd is None or wd not in self._watched:
                return None
            self._watched[wd].hanging.setdefault(entry[1], set()).add(path)
            chain.append((wd, entry[1]))
            return wd, entry[1]

        for link in links:
            hang(link)
        last = hang(end) if end is not None else None
        before = self._chains.get(path, [])
        self._chains[path] = chain
        if is_file:
            self._ends[path] = last
        self._unhang_entries(path, [entry for entry in before if entry not in chain])
        for wd in folders.values():
            if wd is not None:
                self._watched_release(wd)

    def _unhang(self, path: str) -> None:
        self._ends.pop(path, None)
        self._unhang_entries(path, self._chains.pop(path))

    def _unhang_entries(self, path: str, entries: Iterable[tuple[int, str]]) -> None:
        for wd, name in entries:
            watched = self._watched.get(wd)
            if watched is None:
                continue
            paths = watched.hanging.get(name)
            if paths is not None:
                paths.discard(path)
                if not paths:
                    del watched.hanging[name]
            self._watched_release(wd)

    def _location(self, path: str) -> tuple[_Watched | None, str]:
        """Where the file's own events come from: behind the link if it is one."""
        if path in self._ends:
            end = self._ends[path]
            return (None, "") if end is None else (self._watched.get(end[0]), end[1])
        folder, name = os.path.split(path)
        wd = self._folder_wds.get(folder)
        return (None if wd is None else self._watched.get(wd)), name

    # Events

    def _drain(self) -> None:
        if self._fd < 0:
            return
        for event in inotify.read_events(self._fd):
            if event.mask & inotify.Q_OVERFLOW:
                self._overflow()
                continue
            watched = self._watched.get(event.wd)
            if watched is None:
                continue
            if event.name:
                self._entry_event(watched, event.mask, event.name)
            else:
                self._folder_event(event.wd, watched, event.mask)

    def _overflow(self) -> None:
        # A close may be among the lost events, so nothing is known of any writer: only standing still counts now.
        for watched in self._watched.values():
            watched.writing.clear()
            watched.settled.clear()
        self._dirty.add_everything()

    def _folder_event(self, wd: int, watched: _Watched, mask: int) -> None:
        """The folder itself went away or changed: its paths are looked at again, which renews its watches."""
        paths = set(watched.folders).union(*watched.hanging.values())
        if mask & (inotify.IGNORED | inotify.UNMOUNT):
            self._watched.pop(wd, None)
            for path in [path for path, known in self._folder_wds.items() if known == wd]:
                del self._folder_wds[path]
        if paths:
            self._dirty.add(*paths)

    def _entry_event(self, watched: _Watched, mask: int, name: str) -> None:
        hanging = watched.hanging.get(name, ())
        own = () if is_ignored(name) else [os.path.join(folder, name) for folder in watched.folders]
        if not hanging and not own:
            return
        if mask & inotify.ISDIR:
            if not mask & (inotify.MODIFY | inotify.CLOSE_WRITE):
                self._dirty.add(*own, *hanging)
            return
        if mask & inotify.MODIFY:
            # Not worth a look before it is closed.
            watched.writing[name] = True
            watched.settled.discard(name)
            return
        if mask & inotify.CREATE:
            watched.writing[name] = False
            watched.settled.discard(name)
        elif mask & (inotify.CLOSE_WRITE | inotify.MOVED_TO):
            watched.writing.pop(name, None)
            watched.settled.add(name)
        elif mask & (inotify.DELETE | inotify.MOVED_FROM):
            watched.writing.pop(name, None)
            watched.settled.discard(name)
        self._dirty.add(*own, *hanging)
