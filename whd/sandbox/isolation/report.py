"""What a layer says of itself. Values only; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class LayerReport(NamedTuple):
    """One layer on this host: `reason` is "" when engaged, else why not and, where there is one, the way out."""

    name: str
    engaged: bool
    reason: str = ""


def summary(reports: Iterable[LayerReport], names: Iterable[str]) -> list[LayerReport]:
    """One report per name, in the order of `names`.

    A layer that works in several stages is engaged only if every stage of it is; one that no stage reported is not.
    """
    by_name: dict[str, LayerReport] = {}
    for report in reports:
        known = by_name.get(report.name)
        if known is None or known.engaged:
            by_name[report.name] = report
    return [by_name.get(name) or LayerReport(name, False, "was not tried") for name in names]
