"""When requests are due: fixed before the first one is sent, so that a slow server cannot slow its own load.

Nothing here does I/O. Times are in seconds from the start of the run, ascending.
"""

from __future__ import annotations

import random
from array import array

ARRIVALS = ("constant", "poisson")


def constant(rate: float, seconds: float) -> array[float]:
    """Evenly spaced arrivals: the n-th is due at n / rate; all before `seconds`."""
    count = max(1, round(rate * seconds))
    return array("d", (number / rate for number in range(count)))


def poisson(rate: float, seconds: float, seed: int) -> array[float]:
    """Independent callers: exponential gaps of mean 1 / rate, the same for the same seed; all before `seconds`."""
    gap = random.Random(seed).expovariate
    due = array("d", (0.0,))
    at = gap(rate)
    while at < seconds:
        due.append(at)
        at += gap(rate)
    return due


def arrivals(kind: str, rate: float, seconds: float, seed: int) -> array[float]:
    """The schedule of that kind. `rate` is in requests per second, both it and `seconds` above 0."""
    if rate <= 0 or seconds <= 0:
        raise ValueError("rate and seconds must be above 0")
    return constant(rate, seconds) if kind == "constant" else poisson(rate, seconds, seed)
