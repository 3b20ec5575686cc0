"""A request's payload: from body bytes to the members that it gives to a flow's input_value (CONTRACT 3, Payload).

Pure functions of values. Small bodies are read in the daemon, large ones by the same code in a process of its own
(sandbox/worker, op `parse`), where they hold up nobody.

JSON is strict (RFC 8259): UTF-8 only, no NaN or Infinity, at most 200 levels. What needs no change is passed on byte
for byte.
"""

from __future__ import annotations

import base64
import codecs
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
_PARTS = b",\\[{&%+"
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
    `keys`: the values of the payload's own `key` members, taken out; None for one that is not text. `is_whole`: it was
    read elsewhere, and `members_json` is all of the input_value.
    """

    members_json: bytes
    keys: tuple[str | None, ...] = ()
    is_whole: bool = False


NO_PAYLOAD = Parsed(b'"json":null')

# What a body gave, as pieces, so that nothing large is copied: what stands before, where in the body what is passed on
# begins (to its end; the body's length for nothing), what stands behind, and the keys as in Parsed.
Pieces = tuple[bytes, int, bytes, tuple[str | None, ...]]


def is_quick(text: bytes) -> bool:
    """Whether a payload or JSON text is read in so little time that the loop can do it."""
    if len(text) < SMALL_BYTES:
        return True
    # One look at each byte, where count() would look at each once for every part.
    return len(text) < LARGE_BYTES and len(text) - len(text.translate(None, _PARTS)) <= _MOST_PARTS


def parse(body: bytes, content_type: str, has_key: bool) -> Parsed:
    """Reads a body. `has_key`: the webhook has a key, so that a member `key` is taken out of the payload.

    Raises BadPayload for JSON or a form that cannot be read.
    """
    if not body:
        return NO_PAYLOAD
    begin, rest_from, end, keys = parse_in_pieces(body, content_type, has_key)
    return Parsed(b"%b%b%b" % (begin, body[rest_from:], end), keys)


def parse_in_pieces(body: bytes, content_type: str, has_key: bool) -> Pieces:
    """The same of a body that is not empty, without a copy of what is passed on as it came."""
    media_type = _media_type(content_type)
    if media_type == "application/json" or media_type.endswith("+json"):
        return _from_json(_json_text(body), body, has_key)
    if _LIKE_JSON.match(body):
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


_LIKE_JSON = re.compile(rb"\s*[\[{]")


class _NotJson(BadPayload):
    """The body is not JSON at all."""


def _json_text(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _NotJson(f"the JSON body is not UTF-8: byte {error.start} (RFC 8259, 8.1)") from None
    # RFC 8259, 8.1 allows a reader to ignore a byte order mark; some senders on Windows write one.
    return text.removeprefix("\ufeff")


def _from_json(text: str, body: bytes, has_key: bool) -> Pieces:
    value = decode_strict(text)
    if has_key and type(value) is dict and "key" in value:
        key = value["key"]
        is_alone = body.count(b'"key"') + body.count(b"\\u00") == 1
        match = _KEY_FIRST.match(text) if is_alone else None
        if match is not None:
            # The one "key" of the text is its first member: what is left is the rest, as it came.
            rest_from = len(text[: match.end()].encode("utf-8")) + _mark_bytes(body)
            return b'"json":{', rest_from, b"", (key,)
        keys = _take_keys(text, value, is_alone=is_alone)
        return b'"json":' + _encode_again(value), len(body), b"", keys
    return b'"json":', _mark_bytes(body), b"", ()


def _mark_bytes(body: bytes) -> int:
    return len(codecs.BOM_UTF8) if body.startswith(codecs.BOM_UTF8) else 0


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
    if len(text) > MAX_DEPTH and _may_be_deep(text) and depth_of(value) > MAX_DEPTH:
        raise BadPayload(f"{_STRICT}nested more than {MAX_DEPTH} deep")
    return value


def _may_be_deep(text: str) -> bool:
    """Whether a text has more brackets than MAX_DEPTH: an upper bound at the speed of C; only such need the walk."""
    if len(text) < SMALL_BYTES:
        return text.count("[") + text.count("{") > MAX_DEPTH
    # From one to the next: a long text of few brackets is passed over at the speed of memchr(3), which count() is not.
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


def _from_form(body: bytes, has_key: bool) -> Pieces:
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
    return b'"json":' + _encode(fields).encode("ascii"), len(body), b"", tuple(keys)


def add_repeated(fields: dict[str, Any], name: str, value: str) -> None:
    """Adds to a dict of text in which a repeated name becomes a list, in order."""
    present = fields.get(name)
    if present is None:
        fields[name] = value
    elif type(present) is list:
        present.append(value)
    else:
        fields[name] = [present, value]


def _from_data(body: bytes) -> Pieces:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return b'"json":null,"data":"%b","data_encoding":"base64"' % base64.b64encode(body), len(body), b"", ()
    if any(map(body.__contains__, _RARE_CONTROLS)):
        return b'"json":null,"data":' + _encode(text).encode("ascii"), len(body), b"", ()
    # What JSON escapes, each at the speed of memchr(3): 20 times as fast as the encoder, which looks at each character.
    escaped = body
    for character, escape in _ESCAPES:
        escaped = escaped.replace(character, escape)
    if len(escaped) == len(body):
        return b'"json":null,"data":"', 0, b'"', ()
    return b'"json":null,"data":"%b"' % escaped, len(body), b"", ()


# RFC 8259, 7. The backslash first: the others' escapes bring new ones.
_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))
_RARE_CONTROLS = tuple(bytes((code,)) for code in range(32) if code not in b"\n\r\t")


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
