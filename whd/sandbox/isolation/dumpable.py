"""Layer dumpable: no core dump, and /proc/<pid> belongs to root, so that no other process of the same user can trace
this one or read its memory (prctl(2), PR_SET_DUMPABLE; ptrace(2)).

Comes after every change of credentials, since each resets it. Signals and CPU clocks do not depend on it.
"""

from __future__ import annotations

from . import kernel
from .wall import Wall

# linux/prctl.h
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4


def engage(wall: Wall) -> str:
    """Inherited by fork. Raises OSError."""
    kernel.prctl(_PR_SET_DUMPABLE, 0)
    return "" if kernel.prctl(_PR_GET_DUMPABLE) == 0 else "the kernel did not keep it"
