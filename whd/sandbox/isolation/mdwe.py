"""Layer mdwe: memory that was writable never becomes executable, so that no flow brings machine code of its own.

PR_SET_MDWE (Linux 6.3, linux/prctl.h). seccomp refuses PROT_EXEC as well; this holds for the zygote too.
"""

from __future__ import annotations

import errno

from . import kernel
from .wall import Wall

_PR_SET_MDWE = 65
_PR_MDWE_REFUSE_EXEC_GAIN = 1


def engage(wall: Wall) -> str:
    """Cannot be undone, is inherited. Raises OSError."""
    try:
        kernel.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return "needs Linux 6.3 or newer"
        raise
    return ""
