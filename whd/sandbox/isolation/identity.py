"""Layer user: flows never run as root, neither inside nor outside their user namespace.

65534 is the kernel's overflow uid and gid (Documentation/admin-guide/sysctl/fs.rst): the one number that by definition
owns nothing. Outside, a root daemon's zygote and workers become it, so that even a process that has left every
namespace owns no file and no process of worth. Inside, everybody is mapped to it, an ordinary user's daemon too, so
that a flow cannot learn which user runs the daemon. An ordinary user keeps its own uid outside, since it may not take
another; that also lets the daemon send signals to its workers.
"""

from __future__ import annotations

import os

from . import kernel
from .wall import Wall

NOBODY = 65534
_PR_SET_DUMPABLE = 4  # linux/prctl.h


def step_aside() -> None:
    """Root becomes NOBODY before it makes a user namespace, so that NOBODY, and not root, owns the namespace.

    0 stays the saved uid until `leave_root`: so no process of NOBODY can trace this one meanwhile (ptrace(2) compares
    all three uids). The change of credentials made /proc/self root's (prctl(2), PR_SET_DUMPABLE); its maps are to be
    written, so that is undone, until the layer dumpable.
    """
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, 0)
    kernel.prctl(_PR_SET_DUMPABLE, 1)


def step_back() -> None:
    """Undoes `step_aside` where the namespace was refused after all; the groups stay dropped. Raises OSError."""
    os.seteuid(0)


def leave_root(wall: Wall) -> str:
    """Gives up the last of root's ids. An ordinary user has none; its supplementary groups cannot be dropped."""
    if not wall.is_root:
        return ""
    if not wall.has_user_namespace:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    if os.getresuid() != (NOBODY,) * 3 or os.getresgid() != (NOBODY,) * 3:
        return f"the kernel kept other ids than {NOBODY}: {os.getresuid()}, {os.getresgid()}"
    return ""
