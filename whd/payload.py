"""A request's payload: from body bytes to the members that it gives to a flow's input_value (CONTRACT 3, Payload).

Pure functions of values. Small bodies are read in the daemon, large ones by the same code in a process of its own
(sandbox/worker, op `parse`), where they hold up nobody.

JSON is strict (RFC 8259): UTF-8 only, no NaN or Infinity, at most 200 levels. What needs no change is passed on byte
for byte.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from .errors import BadPayload, TooLarge
from .values import valueclass

MAX_DEPTH = 200
MAX_FORM_FIELDS = 100_000

# What is read where it comes in, and what by another process. A small text, whatever it holds, takes one or two
# milliseconds at the most, and so does a longer one of few parts: each of these characters stands for something that
# is made of it.
SMALL_BYTES = 16_384
LARGE_BYTES = 262_144
_PARTS = (b",", b"\\", b"[", b"{", b"&", b"%", b"+")
_MOST_PARTS = 4_000

# What fails here is JSON that a strict reader must refuse, not text that merely looks like JSON.
_STRICT = "not strict JSON: "


class _Unstrict(ValueError):
    """JSON by its shape, but with something that strict JSON does not have."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Unstrict(f"{name} is not JSON (RFC 8259, 6)")


def _collect_pairs(pairs: list[tuple[str, Any]]) -> Any:
    return _Pairs(pairs)


class _Pairs(list[tuple[str, Any]]):
    """An object with its members as they stood, repeated names included."""


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        # Python reads 1e999 as infinity, and could not write it again.
        raise _Unstrict("a number is too large for a double")
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_decode: Callable[[str], Any] = _decoder.decode
# What decode() is a wrapper of, written in Python, that costs as much as reading a small value.
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]  # documented in its source only
_decode_pairs: Callable[[str], Any] = json.JSONDecoder(
    parse_constant=_refuse_constant, object_pairs_hook=_collect_pairs
).decode
_WHITE_SPACE = " \t\r\n"
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


# A member "key" with a text that has no escape, as the first of several.
_KEY_FIRST = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"key"[ \t\r\n]*:[ \t\r\n]*"[^"\\]*"[ \t\r\n]*,')


@valueclass
class Parsed:
    """What a body gave.

    `members_json`: the members `json`, and `data`, `data_encoding` where they apply, as JSON text without braces.
    `keys`: the values of the payload's own `key` members, taken out; None for one that is not text.
    """

    members_json: bytes
    keys: tuple[str | None, ...] = ()


NO_PAYLOAD = Parsed(b'"json":null')


def is_quick(text: bytes) -> bool:
    """Whether a payload or JSON text is read in so little time that the loop can do it."""
    if len(text) < SMALL_BYTES:
        return True
    parts = 0
    for part in _PARTS if len(text) < LARGE_BYTES else ():
        parts += text.count(part)
        if parts > _MOST_PARTS:
            return False
    return len(text) < LARGE_BYTES


def parse(body: bytes, content_type: str, has_key: bool) -> Parsed:
    """Reads a body. `has_key`: the webhook has a key, so that a member `key` is taken out of the payload.

    Raises BadPayload for JSON or a form that cannot be read.
    """
    if not body:
        return NO_PAYLOAD
    media_type = _media_type(content_type)
    if media_type == "application/json" or media_type.endswith("+json"):
        return _from_json(_json_text(body), body, has_key)
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            return _from_json(_json_text(body), body, has_key)
        except _NotJson:
            pass  # The type did not promise JSON: it is a form or plain data that begins with a bracket.
    if media_type == "application/x-www-form-urlencoded":
        return _from_form(body, has_key)
    return _from_data(body)


@lru_cache(maxsize=256)
def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


class _NotJson(BadPayload):
    """The body is not JSON at all."""


def _json_text(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _NotJson(f"the JSON body is not UTF-8: byte {error.start} (RFC 8259, 8.1)") from None
    # RFC 8259, 8.1 allows a reader to ignore a byte order mark; some senders on Windows write one.
    return text.removeprefix("\ufeff")


def _from_json(text: str, body: bytes, has_key: bool) -> Parsed:
    value = decode_strict(text)
    if has_key and type(value) is dict and "key" in value:
        key = value["key"]
        is_alone = body.count(b'"key"') + body.count(b"\\u00") == 1
        match = _KEY_FIRST.match(text) if is_alone else None
        if match is not None:
            # The one "key" of the text is its first member: what is left is the rest, as it came.
            return Parsed(b'"json":{' + text[match.end() :].encode("utf-8"), (key,))
        keys = _take_keys(text, value, is_alone=is_alone)
        return Parsed(b'"json":' + _encode_again(value), keys)
    return Parsed(b'"json":' + (body if len(text) == len(body) else text.encode("utf-8")))


def decode_strict(text: str) -> Any:
    """One JSON value, strictly. Raises BadPayload."""
    try:
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            value, end = None, -1
        if end != len(text) and (end < 0 or text[end:].strip(_WHITE_SPACE)):
            value = _decode(text)  # white space before it, or an error that is told in words
    except _Unstrict as error:
        raise BadPayload(f"{_STRICT}{error}") from None
    except RecursionError:
        raise BadPayload(f"{_STRICT}nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise _NotJson(f"the body is not JSON: {error.msg} at {where}") from None
    except ValueError:
        # int() refuses more than 4300 digits (sys.set_int_max_str_digits).
        raise BadPayload(f"{_STRICT}an integer has too many digits") from None
    # Counting brackets is an upper bound at the speed of C; only bodies with many of them need the walk.
    if text.count("[") + text.count("{") > MAX_DEPTH and depth_of(value) > MAX_DEPTH:
        raise BadPayload(f"{_STRICT}nested more than {MAX_DEPTH} deep")
    return value


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


def _take_keys(text: str, value: dict[str, Any], *, is_alone: bool) -> tuple[str | None, ...]:
    """Takes `key` out of the dict and gives every value that the text has for it.

    A repeated name leaves only its last value in the dict; every one must be right, so unless it stands there alone all
    are read. An escape may spell the name too ("\\u006bey"), so any \\u00 counts as a possible one.
    """
    given = [value.pop("key")]
    if not is_alone:
        given = [item for name, item in _decode_pairs(text) if name == "key"]
    return tuple(item if type(item) is str else None for item in given)


def _encode_again(value: Any) -> bytes:
    try:
        return _encode(value).encode("ascii")
    except ValueError:
        raise BadPayload(f"{_STRICT}a number is too large for a double") from None


def _from_form(body: bytes, has_key: bool) -> Parsed:
    fields: dict[str, Any] = {}
    keys: list[str | None] = []
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except UnicodeDecodeError:
        raise BadPayload("the form is not UTF-8") from None
    except ValueError:
        raise BadPayload(f"the form has more than {MAX_FORM_FIELDS} fields") from None
    for name, value in pairs:
        if has_key and name == "key":
            keys.append(value)
        else:
            add_repeated(fields, name, value)
    return Parsed(b'"json":' + _encode(fields).encode("ascii"), tuple(keys))


def add_repeated(fields: dict[str, Any], name: str, value: str) -> None:
    """Adds to a dict of text in which a repeated name becomes a list, in order."""
    present = fields.get(name)
    if present is None:
        fields[name] = value
    elif type(present) is list:
        present.append(value)
    else:
        fields[name] = [present, value]


def _from_data(body: bytes) -> Parsed:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        data = base64.b64encode(body)
        return Parsed(b'"json":null,"data":"%b","data_encoding":"base64"' % data)
    return Parsed(b'"json":null,"data":' + _encode(text).encode("ascii"))


def gunzip(body: bytes, limit_bytes: int) -> bytes:
    """Unpacks a gzip body (RFC 1952), several members included. Raises BadPayload, or TooLarge past `limit_bytes`."""
    parts: list[bytes] = []
    room = limit_bytes
    rest = body
    while rest:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            # One byte more than allowed tells "exactly full" from "too much" without unpacking a bomb.
            part = unpacker.decompress(rest, room + 1)
        except zlib.error:
            raise BadPayload("the body is not gzip, as its content-encoding says") from None
        room -= len(part)
        if room < 0:
            raise TooLarge(f"the body unpacks to more than max_body_bytes = {limit_bytes} bytes")
        if not unpacker.eof:
            raise BadPayload("the gzip body ends too early")
        parts.append(part)
        rest = unpacker.unused_data
    return b"".join(parts)
