"""JSON, strictly as RFC 8259 has it: UTF-8, no NaN or Infinity, so many levels and no more. Pure functions of texts.

One reader for all JSON that comes from outside: payloads, outputs of flows, inputs that commands are given.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NoReturn

from ..errors import BadPayload

# Levels of lists and objects: of a payload; of what flows make, in which a payload may stand some levels further in; of
# the arguments of a call, in which that stands. A worker finds what is deeper, with the path to it, before the daemon
# does. What reads and writes all of these recurses, a step for a level, and Python allows 1000 of them.
MAX_DEPTH = 200
MAX_OUTPUT_DEPTH = 2 * MAX_DEPTH
MAX_CALL_DEPTH = MAX_OUTPUT_DEPTH + 8

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
    raise _Unstrict(name)


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        # Python reads 1e999 as infinity, and could not write it again.
        raise _Unstrict(text)
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


def decode_utf8(data: bytes | bytearray) -> str:
    """A JSON text's bytes as text, without a byte order mark. Raises BadPayload."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix("\ufeff")
        raise BadPayload(f"the JSON is not UTF-8 (RFC 8259, 8.1) at {_line_and_column(before, len(before))}") from None
    # RFC 8259, 8.1 allows a reader to ignore a byte order mark; some senders on Windows write one.
    return text.removeprefix("\ufeff")


def decode_strict(text: str, max_depth: int = MAX_DEPTH) -> Any:
    """One JSON value, strictly. Raises BadPayload, which says in which line and column the fault is."""
    try:
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            value, end = None, -1
        if end != len(text) and (end < 0 or text[end:].strip(_WHITE_SPACE)):
            value = _decode(text)  # white space before it, or an error, which decode() puts into words
    except json.JSONDecodeError as error:
        fault = _first_unstrict(text, max_depth, error.pos) if _may_be_deep(text, max_depth) else ""
        # Some of Python's words end in "at" already.
        what = error.msg.removesuffix(" at")
        fault = fault or f"the body is not JSON: {what} at {_line_and_column(text, error.pos)}"
        raise BadPayload(fault) from None
    except (ValueError, RecursionError):
        # A number or a level too many; int() refuses more digits than sys.get_int_max_str_digits().
        raise BadPayload(_first_unstrict(text, max_depth) or f"{_STRICT}it cannot be read") from None
    if len(text) > max_depth and _may_be_deep(text, max_depth) and depth_of(value, max_depth) > max_depth:
        raise BadPayload(_first_unstrict(text, max_depth))
    return value


def _line_and_column(text: str, position: int) -> str:
    """Counted from 1, as editors do."""
    return f"line {text.count(chr(10), 0, position) + 1} column {position - text.rfind(chr(10), 0, position)}"


# One without an end goes on to the end, or each quote in it would be tried as a beginning.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+'
_TOKEN = re.compile(_STRING + r"|[\[\]{}]|NaN|-?Infinity|-?[0-9][0-9.eE+-]*+", re.DOTALL)


def _first_unstrict(text: str, max_depth: int, end: int = sys.maxsize) -> str:
    """The first thing before `end` that has the shape of JSON and is not allowed, in words; "" if there is none."""
    most_digits = sys.get_int_max_str_digits() or sys.maxsize
    depth = 0
    for found in _TOKEN.finditer(text, 0, min(end, len(text))):
        token = found[0]
        first = token[0]
        what = ""
        if first in "[{":
            depth += 1
            if depth > max_depth:
                what = f"nested more than {max_depth} deep"
        elif first in "]}":
            depth -= 1
        elif token[-1] in "Ny":
            what = f"{token} is not JSON (RFC 8259, 6)"
        elif first != '"':
            what = _number_fault(token, most_digits)
        if what:
            return f"{_STRICT}{what}, at {_line_and_column(text, found.start())}"
    return ""


def _number_fault(token: str, most_digits: int) -> str:
    if token.lstrip("-").isdigit():
        return "an integer has too many digits" if len(token) - (token[0] == "-") > most_digits else ""
    try:
        value = float(token)
    except ValueError:
        return ""
    return "a number is too large for a double" if value - value != 0 else ""


def _may_be_deep(text: str, max_depth: int) -> bool:
    """Whether a text has more brackets than that: an upper bound at the speed of C; only such need the walk."""
    if len(text) < SMALL_BYTES:
        return text.count("[") + text.count("{") > max_depth
    # From one to the next: a long text of few brackets is passed over at the speed of memchr(3); count() is slower.
    left = max_depth
    for bracket in "[{":
        at = text.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return True
            at = text.find(bracket, at + 1)
    return False


def depth_of(value: Any, max_depth: int) -> int:
    """Levels of lists and dicts: 0 for a scalar, 1 for []; more than `max_depth` is one more than it.

    Walks level by level, without recursion.
    """
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
        if depth > max_depth:
            return depth
        level = inner


_NO_BRACKETS = re.compile(rf'(?:[^"\[\]{{}}]++|{_STRING})++', re.DOTALL)
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def is_deeper(text: str, max_depth: int) -> bool:
    """Whether a JSON text nests deeper, as `depth_of` counts what it means, without making the value."""
    if not _may_be_deep(text, max_depth):
        return False
    return max(accumulate(map(_STEPS.__getitem__, _NO_BRACKETS.sub("", text))), default=0) > max_depth


def encode_strict(value: Any) -> bytes:
    """A value that was read strictly, as compact ASCII JSON. Raises BadPayload for an infinite number."""
    try:
        return _encode(value).encode("ascii")
    except ValueError:
        raise BadPayload(f"{_STRICT}a number is too large for a double") from None
