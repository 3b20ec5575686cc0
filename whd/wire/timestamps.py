"""Moments in time as texts. Pure."""

from __future__ import annotations

import functools
from datetime import UTC, datetime


@functools.lru_cache(maxsize=64)
def timestamp(milliseconds: int) -> str | None:
    """Milliseconds since 1970 UTC as 2026-11-23T07:18:00.123Z (RFC 3339), None for 0."""
    if not milliseconds:
        return None
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}{rest:03d}Z"


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
