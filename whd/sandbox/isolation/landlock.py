"""Layer landlock: a rule set that handles everything and allows nothing (landlock(7)).

Holds where the empty root does not: against paths through descriptors, TCP, abstract sockets, signals that leave the
sandbox. Does not cover stat(2) and UDP.
"""

from __future__ import annotations

import errno
import os
from struct import pack

from . import kernel
from .wall import Wall

# linux/landlock.h
_CREATE_RULESET_VERSION = 1
_ACCESS_FS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ACCESS_FS_NEWEST = (1 << 16) - 1  # ABI 5 added LANDLOCK_ACCESS_FS_IOCTL_DEV
_ACCESS_NET = 0b11  # ABI 4: bind and connect of TCP
_SCOPED = 0b11  # ABI 6: abstract unix sockets, signals


def engage(wall: Wall) -> str:
    """Cannot be undone, is inherited. Needs no_new_privs and one free descriptor. Raises OSError."""
    try:
        abi = kernel.syscall("landlock_create_ruleset", 0, 0, _CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return "this kernel has no Landlock (Linux 5.13, CONFIG_SECURITY_LANDLOCK)"
        if error.errno == errno.EOPNOTSUPP:
            return "Landlock is built in but off; add `landlock` to the kernel's boot parameter lsm="
        raise
    attributes = kernel.Buffer(_attributes(abi))
    ruleset = kernel.syscall("landlock_create_ruleset", attributes.address, attributes.size_bytes, 0)
    try:
        kernel.syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return ""


def _attributes(abi: int) -> bytes:
    """struct landlock_ruleset_attr, as long as the ABI knows it."""
    attributes = pack("=Q", _ACCESS_FS.get(abi, _ACCESS_FS_NEWEST))
    if abi >= 4:
        attributes += pack("=Q", _ACCESS_NET)
    if abi >= 6:
        attributes += pack("=Q", _SCOPED)
    return attributes
