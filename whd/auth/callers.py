"""The one place where a webhook's key is checked (CONTRACT 3, Key). Pure; never raises with what was sent."""

from __future__ import annotations

from collections.abc import Iterable
from hmac import compare_digest

from ..errors import InvalidKey
from ..http.messages import Headers

KEY_HEADER = b"x-webhook-key"


def keys_of_headers(headers: Headers) -> tuple[list[bytes], Headers]:
    """The keys that the headers carry, and the headers without them.

    `Authorization: Bearer …` (RFC 6750, 2.1; the scheme's case does not count, RFC 9110, 11.1) and `X-Webhook-Key`.
    An Authorization of another scheme is not a key and stays.
    """
    keys: list[bytes] = []
    rest = []
    for name, value in headers:
        if name == KEY_HEADER:
            keys.append(value)
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            keys.append(value[7:].strip())
        else:
            rest.append((name, value))
    return keys, tuple(rest) if keys else headers


def is_valid(given: bytes, valid: Iterable[bytes]) -> bool:
    """Compares in constant time with every valid key, so that time tells neither which one nor how much of it fits."""
    found = False
    for key in valid:
        found |= compare_digest(given, key)
    return found


def check_given(given: Iterable[bytes | None], valid: tuple[bytes, ...]) -> None:
    """Every key that was given must be right; None stands for one that is not text. Raises InvalidKey."""
    for key in given:
        if key is None or not is_valid(key, valid):
            raise InvalidKey
