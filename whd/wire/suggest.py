"""What was probably meant by an unknown name. Nothing here does I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

MAX_NAME_CHARACTERS: Final = 80
MAX_CANDIDATES: Final = 100


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The most similar of the known names, "" if none is as near as `cutoff` (difflib.get_close_matches).

    Bounded: a thousand webhooks may each name a flow that is missing among ten thousand.
    """
    wanted = name[:MAX_NAME_CHARACTERS].lower()
    candidates = {other.lower(): other for other in known if len(other) <= MAX_NAME_CHARACTERS}
    if wanted in candidates:
        return candidates[wanted]
    near: Iterable[str] = candidates
    if len(candidates) > MAX_CANDIDATES:
        near = [other for other in candidates if other[:1] == wanted[:1] and abs(len(other) - len(wanted)) <= 2]
        near = near[:MAX_CANDIDATES]
    found = difflib.get_close_matches(wanted, near, n=1, cutoff=cutoff)
    return candidates[found[0]] if found else ""
