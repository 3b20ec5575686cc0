"""Which execution the running code belongs to: its Run stands in the globals of the flow's code, under RUN_NAME."""

from __future__ import annotations

import sys
from typing import Any

RUN_NAME = "_run_"


def running_flow() -> Any:
    """The Run of the flow that called, over however many calls of the library."""
    frame = sys._getframe(1)
    while RUN_NAME not in frame.f_globals:
        caller = frame.f_back
        if caller is None:
            raise RuntimeError("no flow is running")
        frame = caller
    return frame.f_globals[RUN_NAME]
