"""Signatures and times as senders write them, to bytes and seconds.

Strict on purpose: two texts that decode to the same bytes would be two identities of one delivery. Pure functions.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

_DIGITS = re.compile(rb"[0-9]{1,17}")
# RFC 3339, 5.6, in UTC or with an offset.
_RFC3339 = re.compile(rb"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def decode_hex(text: bytes) -> bytes | None:
    """Hexadecimal digits in either case, None for anything else. `bytes.fromhex` would skip white space."""
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        return None


def decode_base64(text: bytes) -> bytes | None:
    """Base64 (RFC 4648, 4) with or without padding, None for anything that an encoder would not have written.

    The last character's unused bits must be zero (3.5): Python's decoder ignores them, strict or not.
    """
    digits = text.rstrip(b"=")
    padding = -len(digits) % 4
    if len(text) - len(digits) not in (0, padding):
        return None
    try:
        data = binascii.a2b_base64(digits + b"=" * padding, strict_mode=True)
    except binascii.Error:
        return None
    return data if binascii.b2a_base64(data, newline=False).rstrip(b"=") == digits else None


DECODERS: Final[dict[str, Callable[[bytes], bytes | None]]] = {"hex": decode_hex, "base64": decode_base64}


def _seconds(text: bytes) -> float | None:
    return float(text) if _DIGITS.fullmatch(text) else None


def _milliseconds(text: bytes) -> float | None:
    return float(text) / 1000 if _DIGITS.fullmatch(text) else None


def _rfc3339(text: bytes) -> float | None:
    if not _RFC3339.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.decode("ascii").upper().replace(" ", "T"))
        return moment.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None


# A timestamp's text to seconds since 1970, None if it is not written so.
TIME_UNITS: Final[dict[str, Callable[[bytes], float | None]]] = {
    "s": _seconds,
    "ms": _milliseconds,
    "rfc3339": _rfc3339,
}
