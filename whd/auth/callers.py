"""The checks of a webhook's callers (CONTRACT 3, Key; SENDERS 2), and the only code that compares secrets.

Pure; never raises with what was sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final

from ..errors import InvalidKey
from ..model.caller_check import CallerCheck, Headers, HeadProof, Query, RequestHead
from ..model.hiding import has_space, holds_no_more, without_keys_in_headers, without_keys_in_query
from ..wire.payload import Parsed

KEY_HEADER = b"x-webhook-key"


@dataclass(frozen=True, slots=True)
class KeyCheck(CallerCheck):
    """A key, any one of `keys`: in `X-Webhook-Key`, the query, `Authorization: Bearer` or the payload.

    The first two decide where they are there, each for itself. A bearer token that is no key, and a member `key` of the
    payload of a caller who has shown one elsewhere, are the sender's own.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    _has_space: bool = field(init=False, repr=False, compare=False)

    is_repeatable = True
    takes_key = True
    key_required = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_has_space", has_space(self.keys))

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        headers, is_right = self._check(head.headers, query.keys)
        # Without a body a key can come nowhere else.
        if not is_right and head.content_length == 0:
            raise InvalidKey
        return HeadProof(headers, is_right)

    def check_payload(self, proof: HeadProof, parsed: Parsed) -> bool:
        given = [b"" if key is None else key.encode("utf-8", "surrogatepass") for key in parsed.keys]
        if proof.is_complete:
            # Of several members of that name, one of them a key, none is passed on.
            return any(is_valid(key, self.keys) for key in given)
        if len(given) != 1 or not is_valid(given[0], self.keys):
            raise InvalidKey
        return True

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        given = [value for name, value in head.headers if name == KEY_HEADER]
        given += query.keys
        given += [value[7:].strip() for name, value in head.headers if name == b"authorization"]
        given += [key.encode("utf-8", "surrogatepass") for key in parsed.keys if key is not None]
        return next((key for text in given for key in self.keys if compare_digest(text, key)), b"")

    def check_status(self, head: RequestHead, query: Query) -> None:
        if not self._check(head.headers, query.keys)[1]:
            raise InvalidKey

    def visible(self, head: RequestHead, proof: HeadProof, query: Query) -> tuple[Headers, dict[str, Any]]:
        # Each key that was shown is there once, and most heads hold no other.
        shown = len(head.headers) - len(proof.headers) + len(query.keys)
        if head.raw is not None and not self._has_space and holds_no_more(head.raw, self.keys, shown):
            return proof.headers, query.fields
        return without_keys_in_headers(proof.headers, self.keys), without_keys_in_query(query.fields, self.keys)

    def _check(self, headers: Headers, query_keys: tuple[bytes, ...]) -> tuple[Headers, bool]:
        """The headers without the keys that they showed, and whether the head has a right one. Raises InvalidKey."""
        named: list[bytes] = []
        tokens: list[bytes] = []
        rest = []
        for field_line in headers:
            name, value = field_line
            if name == KEY_HEADER:
                named.append(value)
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                # RFC 6750, 2.1; the scheme's case does not count (RFC 9110, 11.1).
                token = value[7:].strip()
                tokens.append(token)
                if not is_valid(token, self.keys):
                    rest.append(field_line)
            else:
                rest.append(field_line)
        is_right = False
        for given in (named, query_keys):
            if given:
                if len(given) > 1 or not is_valid(given[0], self.keys):
                    raise InvalidKey
                is_right = True
        if tokens and not is_right:
            if len(tokens) > 1:
                raise InvalidKey
            is_right = len(rest) < len(headers)
        return (tuple(rest) if len(rest) < len(headers) else headers), is_right


@dataclass(frozen=True, slots=True)
class OpenCheck(CallerCheck):
    """No proof is asked for: everybody may call."""

    is_repeatable = True

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        return HeadProof(head.headers, True)

    def check_status(self, head: RequestHead, query: Query) -> None:
        return


OPEN: Final = OpenCheck()


def is_valid(given: bytes, valid: Iterable[bytes]) -> bool:
    """Compares in constant time with every valid key, so that time tells neither which one nor how much of it fits."""
    found = False
    for key in valid:
        found |= compare_digest(given, key)
    return found
