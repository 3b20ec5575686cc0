"""Layer parent_death: a zygote does not outlive its daemon, nor a worker its zygote.

PR_SET_PDEATHSIG (prctl(2)) fires when the *thread* that made this process ends: the daemon starts the zygote, and the
zygote forks workers, from their main threads. fork clears it and a change of credentials resets it, so every process
sets its own, last.
"""

from __future__ import annotations

import os
import signal

from . import kernel
from .wall import Wall

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# The shell's way of saying "killed by SIGKILL".
_EXIT_STATUS = 128 + signal.SIGKILL


def engage(wall: Wall) -> str:
    """Ends this process at once if the parent is gone already. Raises OSError.

    The first process of a pid namespace sees parent 0 whether it lives or not; what closes that gap is its control
    socket, which then reads as ended.
    """
    kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != wall.parent_pid:
        # Not a signal: the first process of a pid namespace cannot kill itself (pid_namespaces(7)).
        os._exit(_EXIT_STATUS)
    return ""
