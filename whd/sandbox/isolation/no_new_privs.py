"""Layer no_new_privs: no exec ever gives this process or its children more than they have (prctl(2))."""

from __future__ import annotations

from . import kernel
from .wall import Wall

# linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39


def engage(wall: Wall) -> str:
    """Cannot be undone, is inherited; seccomp and Landlock ask for it. Raises OSError."""
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return "" if kernel.prctl(_PR_GET_NO_NEW_PRIVS) == 1 else "the kernel did not keep it"
