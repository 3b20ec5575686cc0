"""Layer capabilities: none held, none to be had (capabilities(7)).

In two steps, since emptying the bounding set needs a capability that leaving root takes away.
"""

from __future__ import annotations

import errno
from struct import pack

from . import kernel
from .wall import Wall

# linux/prctl.h
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
# linux/securebits.h: NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each with its lock, and the lock of KEEP_CAPS.
_SECUREBITS = (1 << 0 | 1 << 1) | (1 << 2 | 1 << 3) | (1 << 5) | (1 << 6 | 1 << 7)
# linux/capability.h: _LINUX_CAPABILITY_VERSION_3, for which capset takes two structs of three 32-bit sets.
_VERSION = 0x20080522
_SETS = 6 * 4
_MOST_CAPABILITIES = 64


def shrink_bounds(wall: Wall) -> str:
    """Empties the bounding and ambient sets, and locks the rule that uid 0 has capabilities. Raises OSError."""
    kernel.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    try:
        for number in range(_MOST_CAPABILITIES):
            if _in_bounds(number):
                kernel.prctl(_PR_CAPBSET_DROP, number)
        kernel.prctl(_PR_SET_SECUREBITS, _SECUREBITS)
    except OSError as error:
        if error.errno == errno.EPERM:
            return (
                "the bounding set cannot be emptied without a user namespace or CAP_SETPCAP (see namespaces);"
                " no_new_privs keeps what is in it out of reach"
            )
        raise
    return ""


def drop_all(wall: Wall) -> str:
    """Empties the effective, permitted and inheritable sets. Raises OSError."""
    header = kernel.Buffer(pack("=Ii", _VERSION, 0))
    nothing, held = kernel.Buffer(bytes(_SETS)), kernel.Buffer(b"\xff" * _SETS)
    kernel.syscall("capset", header.address, nothing.address)
    kernel.syscall("capget", header.address, held.address)
    return "the kernel kept some" if any(held.content) else ""


def _in_bounds(number: int) -> bool:
    try:
        return kernel.prctl(_PR_CAPBSET_READ, number) == 1
    except OSError as error:
        if error.errno == errno.EINVAL:  # past the last capability that this kernel knows
            return False
        raise
