"""How much of the machine there is to use, and how many slots that makes."""

from __future__ import annotations

import os

from ..model.options import Options


def core_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def slot_count(options: Options) -> int:
    """The option `workers`, 0 meaning twice the cores that this process may use."""
    return options.workers or 2 * core_count()
