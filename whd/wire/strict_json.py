"""JSON, strictly as RFC 8259 has it: UTF-8, no NaN or Infinity, at most 200 levels. Pure functions of texts.

One reader for all JSON that comes from outside: payloads, outputs of flows, inputs that commands are given.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import BadPayload

MAX_DEPTH = 200

# What the loop reads itself; larger texts are for another process. A small text, whatever it holds, takes one or two
# milliseconds at most, and so does a longer one of few parts: each of these characters stands for an object to be made.
SMALL_BYTES = 16_384
LARGE_BYTES = 262_144
_PARTS = b",\\[{&%+"
_MOST_PARTS = 4_000

# Errors that begin so are about JSON that a strict reader must refuse, not about text that merely looks like JSON.
_STRICT = "not strict JSON: "


class _Unstrict(ValueError):
    """JSON by its shape, but with something that strict JSON does not have."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Unstrict(f"{name} is not JSON (RFC 8259, 6)")


class NotJson(BadPayload):
    """The body is not JSON at all."""


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        # Python reads 1e999 as infinity, and could not write it again.
        raise _Unstrict("a number is too large for a double")
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_decode: Callable[[str], Any] = _decoder.decode
# What decode() wraps in Python; the wrapper costs as much as reading a small value.
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]  # documented in its source only
# An object as the list of its members as they stood, repeated names included.
decode_pairs: Callable[[str], Any] = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=list).decode
_WHITE_SPACE = " \t\r\n"
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def is_quick(text: bytes | bytearray) -> bool:
    """Whether a payload or JSON text is read in so little time that the loop can do it."""
    if len(text) < SMALL_BYTES:
        return True
    # One look at each byte; count() would take one for every part.
    return len(text) < LARGE_BYTES and len(text) - len(text.translate(None, _PARTS)) <= _MOST_PARTS


def decode_strict(text: str) -> Any:
    """One JSON value, strictly. Raises BadPayload."""
    try:
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            value, end = None, -1
        if end != len(text) and (end < 0 or text[end:].strip(_WHITE_SPACE)):
            value = _decode(text)  # white space before it, or an error, which decode() puts into words
    except _Unstrict as error:
        raise BadPayload(f"{_STRICT}{error}") from None
    except RecursionError:
        raise BadPayload(f"{_STRICT}nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise NotJson(f"the body is not JSON: {error.msg} at {where}") from None
    except ValueError:
        # int() refuses more than 4300 digits (sys.set_int_max_str_digits).
        raise BadPayload(f"{_STRICT}an integer has too many digits") from None
    if len(text) > MAX_DEPTH and _may_be_deep(text) and depth_of(value) > MAX_DEPTH:
        raise BadPayload(f"{_STRICT}nested more than {MAX_DEPTH} deep")
    return value


def _may_be_deep(text: str) -> bool:
    """Whether a text has more brackets than MAX_DEPTH: an upper bound at the speed of C; only such need the walk."""
    if len(text) < SMALL_BYTES:
        return text.count("[") + text.count("{") > MAX_DEPTH
    # From one to the next: a long text of few brackets is passed over at the speed of memchr(3); count() is slower.
    left = MAX_DEPTH
    for bracket in "[{":
        at = text.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return True
            at = text.find(bracket, at + 1)
    return False


def depth_of(value: Any) -> int:
    """Levels of lists and dicts: 0 for a scalar, 1 for []. Walks level by level, without recursion."""
    depth = 0
    level = [value]
    while True:
        inner: list[Any] = []
        found = False
        for item in level:
            if type(item) is dict:
                found = True
                inner.extend(item.values())
            elif type(item) is list:
                found = True
                inner.extend(item)
        if not found:
            return depth
        depth += 1
        if depth > MAX_DEPTH:
            return depth
        level = inner


def encode_strict(value: Any) -> bytes:
    """A value that was read strictly, as compact ASCII JSON. Raises BadPayload for an infinite number."""
    try:
        return _encode(value).encode("ascii")
    except ValueError:
        raise BadPayload(f"{_STRICT}a number is too large for a double") from None
