"""Layer namespaces, last part: the zygote becomes process 1 of its pid namespace.

unshare(2) moves only children into a pid namespace. So the process that the daemon started forks once more: its child
serves on as the zygote, and it stays behind to wait. They die together: when the zygote ends, the outer process passes
its exit status on; when the outer process is killed, or the daemon dies, the parent-death signal ends the zygote, which
is process 1, and with it, by the kernel's hand, every worker (pid_namespaces(7)). Forked last, the outer process sits
behind every layer that the zygote has, and under a filter that lets it wait and exit.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import NoReturn

from . import descriptors, parent_death, seccomp
from .wall import Wall


def become(wall: Wall) -> str:
    """Returns only in the child. Raises OSError."""
    if not wall.has_pid_namespace:
        return "needs a pid namespace"
    child = os.fork()
    if child:
        _wait_for(child, wall)
    wall.parent_pid = os.getppid()  # 0: the parent is outside of the namespace
    return "" if os.getpid() == 1 else f"the zygote is process {os.getpid()} of its pid namespace, not 1"


def _wait_for(child: int, wall: Wall) -> NoReturn:
    """Exits as the child does; killed by signal n, with the shell's 128 + n."""
    status = 128 + signal.SIGKILL
    try:
        descriptors.close_all()
        parent_death.engage(wall)
        if not wall.skips("seccomp"):
            # Where the kernel refuses it, the workers' own attempt says so; this process matters less.
            with suppress(OSError):
                seccomp.install_waiting(wall)
        _, wait_status = os.waitpid(child, 0)
        status = os.waitstatus_to_exitcode(wait_status)
        status = 128 - status if status < 0 else status
    finally:
        os._exit(status)
