"""What a webhook decides about calls that have passed every check of their caller: the interfaces that handlers ask.

Made when the webhook's setting is read (settings/only.py). Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..wire.pointer import Picked
from .caller_check import Headers


class CallFilter(Protocol):
    """Which calls run the flow; frozen."""

    @property
    def pointers(self) -> tuple[str, ...]:
        """What it needs of the payload, as JSON pointers."""

    def mismatch(self, headers: Headers, query: Mapping[str, Any], picked: Picked | None) -> str:
        """The first place whose value does not match, "" for a call that runs."""
