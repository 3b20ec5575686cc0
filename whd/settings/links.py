"""Which folder entries decide what a path leads to: each link on its way, and the entry at its end.

A link swapped anywhere on the way (`..data` of Kubernetes, `current` of a deployment) changes a file without any event
in the file's own folder. path_resolution(7) is the order followed here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

MAX_LINKS: Final = 40  # the kernel's own bound, path_resolution(7)

Entry = tuple[str, str]


def follow(path: str, on_folder: Callable[[str], None]) -> tuple[list[Entry], Entry | None]:
    """Resolves an absolute path step by step. Gives (links, end), each entry a (folder, name).

    `links`: the links that were followed. `end`: the last entry that was reached, which need not exist; None if the
    path ends in a folder itself or in a loop. `on_folder` is called before an entry of that folder is read, so that
    no change can slip between look and watch.
    """
    links: list[Entry] = []
    current = "/"
    parts = _parts(path)
    end: Entry | None = None
    while parts:
        name = parts.pop()
        if name == "..":
            # Links before it are resolved already, but for those in `current`'s own prefix, which the kernel resolves.
            current, end = os.path.join(current, ".."), None
            continue
        is_last = not parts
        if is_last:
            on_folder(current)
        target = _target(os.path.join(current, name))
        if target is None:
            end = (current, name)
            if not is_last and _is_missing(current, name, on_folder):
                return links, end
            current = os.path.join(current, name)
            continue
        on_folder(current)
        target = _target(os.path.join(current, name))
        if target is None:
            end = (current, name)
            if not is_last and not os.path.exists(os.path.join(current, name)):
                on_folder(current)
                return links, end
            current = os.path.join(current, name)
            continue
        on_folder(current)
        target = _target(os.path.join(current, name)) or name
        links.append((current, name))
        if len(links) > MAX_LINKS:
            return links, None
        if target.startswith("/"):
            current = "/"
        parts += _parts(target)
        end = None
    return links, end


def _is_missing(folder: str, name: str, on_folder: Callable[[str], None]) -> bool:
    path = os.path.join(folder, name)
    if os.path.exists(path):
        return False
    on_folder(folder)
    return not os.path.exists(path)


def _parts(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _target(path: str) -> str | None:
    try:
        return os.readlink(path) if stat.S_ISLNK(os.lstat(path).st_mode) else None
    except OSError:
        return None
