"""inotify(7) through ctypes: the standard library has no binding. Only the system calls and the event layout are here.

Constants are those of <sys/inotify.h>, the same on every architecture but IN_NONBLOCK and IN_CLOEXEC, which are
O_NONBLOCK and O_CLOEXEC.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MODIFY: Final = 0x002
ATTRIB: Final = 0x004
CLOSE_WRITE: Final = 0x008
MOVED_FROM: Final = 0x040
MOVED_TO: Final = 0x080
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
UNMOUNT: Final = 0x2000
Q_OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x01000000
MASK_ADD: Final = 0x20000000
ISDIR: Final = 0x40000000

# struct inotify_event: int wd; uint32_t mask, cookie, len; char name[len], padded with NULs.
_EVENT = struct.Struct("iIII")
_READ_BYTES = 65_536

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class InotifyEvent:
    """One event: the watch it belongs to, its bits, and the entry's name in that folder, "" for the folder itself."""

    wd: int
    mask: int
    name: str


def initialise() -> int:
    """inotify_init1(2): a descriptor to be read without blocking. Raises OSError: ENOSYS, EMFILE, ENFILE, ENOMEM."""
    function = getattr(_libc, "inotify_init1", None)
    if function is None:
        raise OSError(38, "this system has no inotify")
    return _checked(function(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")


def add_watch(fd: int, path: str, mask: int) -> int:
    """inotify_add_watch(2): the folder's watch, the same one for the same folder. Raises OSError; ENOSPC: exhausted."""
    return _checked(_libc.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(mask)), path)


def remove_watch(fd: int, wd: int) -> None:
    """inotify_rm_watch(2). A watch that the kernel has removed already is no error."""
    _libc.inotify_rm_watch(fd, wd)


def read_events(fd: int) -> Iterator[InotifyEvent]:
    """All events that are queued now, in order."""
    while True:
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        position = 0
        while position < len(data):
            wd, mask, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size
            name = data[position : position + length].rstrip(b"\0")
            position += length
            yield InotifyEvent(wd, mask, os.fsdecode(name))


# statfs(2), f_type: file systems that others change behind this kernel's back, without an event here: other machines,
# the host of a virtual machine, or who writes into the layers of an overlay.
_SILENT: Final = {
    0x6969: "NFS",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x517B: "SMB",
    0x01021997: "9p",
    0x00C36400: "Ceph",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x65735546: "FUSE",
    0x786F4256: "a VirtualBox share",
    0xBACBACBC: "a VMware share",
    0x7C7C6673: "a Parallels share",
    0x794C7630: "overlay",
    0x61756673: "aufs",
}


def silent_file_system(path: str) -> str:
    """The name of the file system at `path` if inotify does not see all its changes, else ""."""
    # struct statfs begins with f_type, a long; the rest is smaller than this on every architecture.
    buffer = (ctypes.c_long * 64)()
    if _libc.statfs(os.fsencode(path), ctypes.byref(buffer)) != 0:
        return ""
    return _SILENT.get(buffer[0] & 0xFFFFFFFF, "")


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result
