"""The checks of a webhook's callers (CONTRACT 3, Key), and the only code that compares secrets.

Pure; never raises with what was sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final

from ..errors import InvalidKey
from ..http.messages import Headers
from ..model.caller_check import CallerCheck, HeadProof, Query, RequestHead
from ..wire.payload import Parsed

KEY_HEADER = b"x-webhook-key"


@dataclass(frozen=True, slots=True)
class KeyCheck(CallerCheck):
    """A key, in header, query or payload. Any one of `keys` opens; every one that a caller gives must be right."""

    keys: tuple[bytes, ...] = field(repr=False)

    is_repeatable = True
    takes_key = True
    key_required = True

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        given, headers = keys_of_headers(head.headers)
        given += query.keys
        check_given(given, self.keys)
        # Without a body a key can come nowhere else.
        if not given and head.content_length == 0:
            raise InvalidKey
        return HeadProof(headers, bool(given))

    def check_payload(self, proof: HeadProof, parsed: Parsed) -> None:
        if parsed.keys:
            given = [None if key is None else key.encode("utf-8", "surrogatepass") for key in parsed.keys]
            check_given(given, self.keys)
        elif not proof.is_complete:
            raise InvalidKey

    def check_status(self, head: RequestHead, query: Query) -> None:
        given, _headers = keys_of_headers(head.headers)
        given += query.keys
        check_given(given, self.keys)
        if not given:
            raise InvalidKey


@dataclass(frozen=True, slots=True)
class OpenCheck(CallerCheck):
    """No proof is asked for: everybody may call."""

    is_repeatable = True

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        return HeadProof(head.headers, True)

    def check_status(self, head: RequestHead, query: Query) -> None:
        return


OPEN: Final = OpenCheck()


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
