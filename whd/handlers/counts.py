"""What this process has counted of calls that ran no flow of their own; engine/report.py says it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class CallCounts:
    """Since the start. `filtered`: by `only`. Written by the handlers alone."""

    filtered: int = 0
