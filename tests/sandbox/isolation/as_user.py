"""Runs a command as another user, also where only root may reach this interpreter and this checkout.

Started by root as `python -I -B as_user.py <project> <uid> <command>…`, and becomes the command: same process, same
descriptors, no variables. CI's checkout often lies in a folder of mode 0700, and pyenv's interpreters below /root. So
this process gets a mount namespace of its own, in which each closed folder on the way is covered by an empty one that
everybody may enter, and what is needed is bound to its old place in it. The host sees nothing of that, and it goes
away with the last process that lives there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(sys.argv[1] if __name__ == "__main__" else __file__).resolve()
sys.path.insert(0, str(PROJECT))

from whd.sandbox.isolation import kernel  # noqa: E402

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18  # linux/mount.h
_EVERYBODY_ENTERS = 0o005


def is_closed(folder: Path) -> bool:
    """Whether somebody who is neither the owner nor of the group may not list or enter a folder."""
    return folder.stat().st_mode & _EVERYBODY_ENTERS != _EVERYBODY_ENTERS


def needed() -> Iterator[Path]:
    """The project, the interpreter's files, and every link on the way to its binary."""
    yield PROJECT
    yield Path(sys.base_prefix).resolve()
    yield Path(sys.prefix).resolve()
    link = Path(sys.executable)
    while True:
        link = link.parent.resolve() / link.name
        yield link
        if not link.is_symlink():
            return
        link = link.parent / link.readlink()


def open_the_way(paths: list[Path]) -> None:
    """Makes the paths reachable for everybody, in a mount namespace of this process's own. Raises OSError."""
    # A closed folder that is needed itself is rebuilt from what lies in it.
    whole = [inner for path in paths for inner in (path.iterdir() if path.is_dir() and is_closed(path) else (path,))]
    whole = [path for path in whole if not any(other in path.parents for other in whole)]
    outermost = {path: next((top for top in reversed(path.parents) if is_closed(top)), None) for path in whole}
    if not any(outermost.values()):
        return
    kernel.syscall("unshare", _CLONE_NEWNS)
    kernel.mount(None, b"/", None, _MS_REC | _MS_PRIVATE)
    sources = {path: os.open(path, os.O_PATH | os.O_NOFOLLOW) for path, top in outermost.items() if top is not None}
    links = {path: path.readlink() for path in sources if path.is_symlink()}
    folders = {path for path in sources if path.is_dir()}
    for top in set(outermost.values()) - {None}:
        kernel.mount(b"none", os.fsencode(top), b"tmpfs", 0, b"mode=755")
    os.umask(0o022)
    for path, source in sources.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path in links:
            path.symlink_to(links[path])
        else:
            path.mkdir() if path in folders else path.touch()
            kernel.mount(f"/proc/self/fd/{source}".encode(), os.fsencode(path), None, _MS_BIND | _MS_REC)
        os.close(source)


def become(uid: int) -> None:
    """Root's ids, groups and capabilities are gone for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def main() -> None:
    open_the_way(list(dict.fromkeys(needed())))
    become(int(sys.argv[2]))
    os.chdir("/")
    os.execve(sys.argv[3], sys.argv[3:], {})


if __name__ == "__main__":
    main()
