"""Layer empty_root: the file system that a worker sees is one empty directory that nobody can write to.

pivot_root(2), "pivot_root(".", ".")": the old root is stacked under the new one and detached, so that no directory is
needed for it and nothing in this mount namespace leads back.
"""

from __future__ import annotations

import os

from . import kernel
from .wall import Wall

# linux/mount.h; umount2's flag: umount(2)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18
_MNT_DETACH = 2

# Any directory that every host has; the layer before this one has just used it.
_MOUNT_POINT = b"/proc"


def enter(wall: Wall) -> str:
    """Replaces the root directory. Only in a mount namespace of our own. Raises OSError."""
    if not wall.has_mount_namespace:
        return "needs a mount namespace (see namespaces)"
    # Else the mounts below would spread to the host (mount_namespaces(7), shared subtrees).
    kernel.mount(None, b"/", None, _MS_REC | _MS_PRIVATE)
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    kernel.mount(b"none", _MOUNT_POINT, b"tmpfs", flags, b"size=4k,nr_inodes=2,mode=555")
    os.chdir(_MOUNT_POINT)
    here = kernel.Buffer(b".\0")
    kernel.syscall("pivot_root", here.address, here.address)
    kernel.syscall("umount2", here.address, _MNT_DETACH)
    os.chdir("/")
    left = os.listdir("/")
    return f"the new root is not empty: {left}" if left else ""
