"""What a percentile is here, and what a run's figures are made of. Nothing here does I/O.

The p-th percentile of n latencies is the nearest-rank one: the smallest of them that at least p % of all are no larger
than, i.e. the ceil(p / 100 * n)-th in ascending order. All latencies are kept and sorted: no histogram rounds them.
A percentile is given only where at least one in (100 - p) % of the latencies lies beyond it: p99.9 needs 1000.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

# Percent -> name in tables, JSON and pages.
NAMES = {50.0: "p50", 90.0: "p90", 99.0: "p99", 99.9: "p99.9"}


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of a sorted, non-empty sequence; 0 < percent <= 100."""
    if not ascending:
        raise ValueError("no values")
    if not 0 < percent <= 100:
        raise ValueError("percent must be above 0 and at most 100")
    # 99.9 / 100 * 1000 is 999.0000000000001 in binary; the rounding keeps ceil from going one rank too far.
    rank = math.ceil(round(percent / 100 * len(ascending), 6))
    return ascending[max(rank, 1) - 1]


def needed(percent: float) -> int:
    """How many values a percentile needs so that one of them can lie beyond it."""
    return math.ceil(round(100 / (100 - percent), 6))


def summary_ms(latencies_s: Sequence[float]) -> dict[str, float | None]:
    """p50, p90, p99, p99.9, max and mean of latencies in seconds, as milliseconds; None where there are too few."""
    ascending = sorted(latencies_s)
    count = len(ascending)
    result: dict[str, float | None] = {
        name: percentile(ascending, percent) * 1e3 if count >= needed(percent) else None
        for percent, name in NAMES.items()
    }
    result["max"] = ascending[-1] * 1e3 if count else None
    result["mean"] = math.fsum(ascending) / count * 1e3 if count else None
    return result


def median(values: Sequence[float | None]) -> float | None:
    """The median of the values that are there; None if one is missing or none is there."""
    present = [value for value in values if value is not None]
    return statistics.median(present) if present and len(present) == len(values) else None


def spread(values: Sequence[float]) -> float | None:
    """How far rounds lie apart: (largest - smallest) / median; None below two values or around a median of 0."""
    if len(values) < 2:
        return None
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else None


def variation(values: Sequence[float]) -> float | None:
    """The coefficient of variation: the sample's standard deviation over its mean; None as for `spread`."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    return statistics.stdev(values) / mean if mean else None
