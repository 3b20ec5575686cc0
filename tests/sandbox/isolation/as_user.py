"""Runs a command as another user, also where only root may reach this interpreter and this checkout.

Started by root as `python -I -B as_user.py <project> <uid> <command>…`, and becomes the command: same process, same
descriptors, no variables but NOTIFY_SOCKET. CI's checkout often lies in a folder of mode 0700, and pyenv's interpreters
below /root. So this process gets a mount namespace of its own, in which each closed folder on the way is covered by an
empty one that everybody may enter, and what is needed is bound to its old place in it. The host sees nothing of that,
and it goes away with the last process that lives there.
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
    folders = {folder for path in paths for folder in (path, *path.parents) if folder.is_dir()}
    closed = sorted((folder for folder in folders if is_closed(folder)), key=lambda folder: len(folder.parts))
    if closed:
        kernel.syscall("unshare", _CLONE_NEWNS)
        kernel.mount(None, b"/", None, _MS_REC | _MS_PRIVATE)
        os.umask(0o022)
    for folder in closed:
        rebuild(folder, [inner for inner in folder.iterdir() if any(is_on_one_way(inner, path) for path in paths)])


def is_on_one_way(one: Path, other: Path) -> bool:
    """Whether one of the two is the other, or leads to it."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def rebuild(folder: Path, kept: list[Path]) -> None:
    """Covers a folder by one that everybody may enter, with only `kept` of its entries."""
    sources = [(inner, inner.is_dir(), os.open(inner, os.O_PATH)) for inner in kept if not inner.is_symlink()]
    links = [(inner, inner.readlink()) for inner in kept if inner.is_symlink()]
    kernel.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"mode=755")
    for inner, is_folder, source in sources:
        inner.mkdir() if is_folder else inner.touch()
        kernel.mount(f"/proc/self/fd/{source}".encode(), os.fsencode(inner), None, _MS_BIND | _MS_REC)
        os.close(source)
    for inner, target in links:
        inner.symlink_to(target)


def become(uid: int) -> None:
    """Root's ids, groups and capabilities are gone for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def main() -> None:
    open_the_way(list(dict.fromkeys(needed())))
    become(int(sys.argv[2]))
    os.chdir("/")
    kept = {name: value for name, value in os.environ.items() if name == "NOTIFY_SOCKET"}
    os.execve(sys.argv[3], sys.argv[3:], kept)


if __name__ == "__main__":
    main()
