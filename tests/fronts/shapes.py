"""The shape of the status document: its keys in order, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whd.engine.report import Report
from whd.engine.state import Paths
from whd.engine.status import DaemonFacts, status_document


def shape(document: dict[str, Any]) -> dict[str, list[str]]:
    """Without what only several fronts have."""
    parts = {name: list(part) for name, part in document.items() if isinstance(part, dict)}
    return {"": [name for name in document if name != "fronts"], **parts}


def shape_of_one_process() -> dict[str, list[str]]:
    """As one process says it."""
    folder = Path()
    return shape(status_document(Report(), DaemonFacts(1, 0.0, "serving", (), 1, Paths(folder, folder, folder))))
