"""What a webhook decides about calls that have passed every check of their caller: the interfaces that handlers ask.

Made when the webhook's setting is read (settings/only.py, settings/dedup.py). Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..wire.pointer import Picked
from .caller_check import Headers
from .delivery import Delivery


class CallFilter(Protocol):
    """Which calls run the flow; frozen."""

    @property
    def pointers(self) -> tuple[str, ...]:
        """What it needs of the payload, as JSON pointers."""

    def mismatch(self, headers: Headers, query: Mapping[str, Any], picked: Picked | None) -> str:
        """The first place whose value does not match, "" for a call that runs."""


class DeliveryRule(Protocol):
    """Which deliveries are repeats; frozen."""

    @property
    def pointers(self) -> tuple[str, ...]:
        """What it needs of the payload, as JSON pointers."""

    @property
    def needs_digest(self) -> bool:
        """Whether it needs the SHA-256 of the body's raw bytes."""

    @property
    def is_unique(self) -> bool:
        """Whether an id that comes with another body is refused: 422, idempotency_key_reused."""

    @property
    def runs_after_error(self) -> bool:
        """Whether a repeat of what failed runs anew; else it gets the same answer."""

    def delivery(
        self,
        owner: tuple[str, str],
        proof: bytes,
        headers: Headers,
        query: Mapping[str, Any],
        picked: Picked | None,
        digest: bytes,
        now_ms: int,
    ) -> Delivery | None:
        """What makes a call of `owner` (client and webhook) a repeat; None for one that has no id, or not all of it.

        `proof`: what proved the caller (CallerCheck.proved_by). `digest`: the body's SHA-256, if it is needed.
        """
