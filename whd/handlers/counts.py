"""What this process has counted of calls by their webhooks' rules; engine/report.py says it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class CallCounts:
    """Since the start. `filtered`: by `only`; `replayed`: repeats by `dedup`; `reused_ids`: those with another body.

    Written by the handlers alone. A call with a reused id runs.
    """

    filtered: int = 0
    replayed: int = 0
    reused_ids: int = 0
