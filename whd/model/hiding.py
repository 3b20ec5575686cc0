"""Takes a webhook's keys out of what a flow, a record or a log may see of a request's head (SENDERS 2).

Browsers and proxies copy the URL, and with it the key, into headers of their own: Referer, X-Original-URI, Forwarded.
Pure. Asked only for callers who have proved a key: how long a search takes would tell others how much of it fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from .caller_check import Headers

MIN_HIDDEN_BYTES = 16
"""A key from here on is hidden within longer values too. A shorter one may stand there as an ordinary word."""

MASK = b"***"
# Who forwards a URL within a URL encodes it once more; nobody does it so many times.
_MAX_DECODINGS = 5
# RFC 9110, 11.4: a scheme, then the credentials.
_CREDENTIALS = frozenset((b"authorization", b"proxy-authorization"))


def has_space(keys: Iterable[bytes]) -> bool:
    """Whether one of the keys may stand in a URL in a way that no plain search finds."""
    return any(b" " in key for key in keys)


def holds_no_more(raw: bytes, keys: Iterable[bytes], shown: int) -> bool:
    """Whether a head plainly holds its keys only as often as they were shown for proof; False if it takes a look."""
    return b"%" not in raw and sum(map(raw.count, keys)) == shown


def without_keys_in_headers(headers: Headers, keys: tuple[bytes, ...]) -> Headers:
    """The headers without those that are a key, *** for a key that one contains."""
    keys = _longest_first(keys)
    kept = []
    for name, value in headers:
        if name in _CREDENTIALS and _hidden(value.partition(b" ")[2].strip(), keys) is None:
            continue
        shown = _hidden(value, keys)
        if shown is not None:
            kept.append((name, shown))
    return tuple(kept)


def without_keys_in_query(fields: dict[str, Any], keys: tuple[bytes, ...]) -> dict[str, Any]:
    """The same for a query's fields, name and value, as model.caller_check.Query has them."""
    keys = _longest_first(keys)
    kept: dict[str, Any] = {}
    for name, item in fields.items():
        shown_name = _hidden_text(name, keys)
        texts = item if type(item) is list else [item]
        shown = [text for text in (_hidden_text(text, keys) for text in texts) if text is not None]
        if shown_name is not None and shown:
            kept[shown_name] = shown[0] if len(shown) == 1 else shown
    return kept


def _longest_first(keys: Iterable[bytes]) -> tuple[bytes, ...]:
    # One that is the beginning of another would leave the other's end.
    return tuple(sorted(keys, key=len, reverse=True))


def _hidden_text(text: str, keys: tuple[bytes, ...]) -> str | None:
    shown = _hidden(text.encode("utf-8", "surrogatepass"), keys)
    return None if shown is None else shown.decode("utf-8", "surrogatepass")


def _hidden(value: bytes, keys: tuple[bytes, ...]) -> bytes | None:
    """A value with *** for each key in it, as it is or percent-encoded; None for one that is a key."""
    for key in keys:
        if any(reading == key for reading in _readings(value, key)):
            return None
        if len(key) >= MIN_HIDDEN_BYTES and _contains(value, key):
            value = _spellings(key).sub(MASK, value)
            if _contains(value, key):
                # Encoded in a way of its own, such as the digits of an escape; what is around it goes as well.
                value = MASK
    return value


def _contains(value: bytes, key: bytes) -> bool:
    return any(key in reading for reading in _readings(value, key))


def _readings(value: bytes, key: bytes) -> Iterator[bytes]:
    """The value as it is, then percent-decoded once and again; where the key has a space, also with one for each +."""
    for _ in range(_MAX_DECODINGS + 1):
        yield value
        if b" " in key and b"+" in value:
            form = value.replace(b"+", b" ")
            yield form
            yield unquote_to_bytes(form)
        decoded = unquote_to_bytes(value) if b"%" in value else value
        if decoded == value:
            return
        value = decoded


@lru_cache(maxsize=64)
def _spellings(key: bytes) -> re.Pattern[bytes]:
    """Finds a key each byte of which is as it is or percent-encoded, once or more often."""
    parts = []
    for byte in key:
        # The escape first: of %25 for a last % nothing is to be left.
        one = rb"%%(?:25)*(?i:%02x)|%b" % (byte, re.escape(bytes((byte,))))
        parts.append(rb"(?:%b)" % (one if byte != 0x20 else one + rb"|\+|%(?:25)*2[bB]"))
    return re.compile(b"".join(parts))
