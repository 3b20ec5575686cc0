"""A request's payload: from body bytes to the members that it gives to a flow's input_value (CONTRACT 3, Payload).

Pure functions of values. Small bodies are read in the daemon, large ones by the same code in a process of its own
(sandbox/worker, op `parse`), where they delay nobody.

JSON is read strictly (strict_json). What needs no change is passed on byte for byte.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from ..errors import BadPayload, TooLarge
from ..valueclass import valueclass
from .strict_json import NotJson, decode_pairs, decode_strict, encode_strict

MAX_FORM_FIELDS = 100_000

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


# A member "key" with a text that has no escape, as the first of several.
_KEY_FIRST = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"key"[ \t\r\n]*:[ \t\r\n]*"[^"\\]*"[ \t\r\n]*,')


@valueclass
class Parsed:
    """What a body gave.

    `members_json`: the members `json`, and `data`, `data_encoding` where they apply, as JSON text without braces.
    `keys`: the values of the payload's own `key` members, taken out; None for one that is not text. `is_whole`: another
    process read it, and `members_json` is all of the input_value. `picked`: values of the payload that a check asked
    for, by place.
    """

    members_json: bytes
    keys: tuple[str | None, ...] = ()
    is_whole: bool = False
    picked: Mapping[str, Any] | None = None


NO_PAYLOAD = Parsed(b'"json":null')

# What a body gave, in pieces, so that nothing large is copied: the text before, the offset from which on the body is
# passed on (its length: nothing of it is), the text behind, and the keys as in Parsed.
Pieces = tuple[bytes, int, bytes, tuple[str | None, ...]]


def parse(body: bytes, content_type: str, has_key: bool) -> Parsed:
    """Reads a body. `has_key`: the webhook has a key, so that a member `key` is taken out of the payload.

    Raises BadPayload for JSON or a form that cannot be read.
    """
    if not body:
        return NO_PAYLOAD
    begin, rest_from, end, keys = parse_in_pieces(body, content_type, has_key)
    return Parsed(b"%b%b%b" % (begin, body[rest_from:], end), keys)


def parse_in_pieces(body: bytes | bytearray, content_type: str, has_key: bool) -> Pieces:
    """`parse` for a body that is not empty, without a copy of what is passed on as it came."""
    media_type = _media_type(content_type)
    if media_type == "application/json" or media_type.endswith("+json"):
        return _from_json(_json_text(body), body, has_key)
    if _LIKE_JSON.match(body):
        try:
            return _from_json(_json_text(body), body, has_key)
        except NotJson:
            pass  # The type did not promise JSON: it is a form or plain data that begins with a bracket.
    if media_type == "application/x-www-form-urlencoded":
        return _from_form(body, has_key)
    return _from_data(body)


@lru_cache(maxsize=256)
def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


_LIKE_JSON = re.compile(rb"\s*[\[{]")


def _json_text(body: bytes | bytearray) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(f"the JSON body is not UTF-8: byte {error.start} (RFC 8259, 8.1)") from None
    # RFC 8259, 8.1 allows a reader to ignore a byte order mark; some senders on Windows write one.
    return text.removeprefix("\ufeff")


def _from_json(text: str, body: bytes | bytearray, has_key: bool) -> Pieces:
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
        return b'"json":' + encode_strict(value), len(body), b"", keys
    return b'"json":', _mark_bytes(body), b"", ()


def _mark_bytes(body: bytes | bytearray) -> int:
    return len(codecs.BOM_UTF8) if body.startswith(codecs.BOM_UTF8) else 0


def _take_keys(text: str, value: dict[str, Any], *, is_alone: bool) -> tuple[str | None, ...]:
    """Takes `key` out of the dict and gives every value that the text has for it.

    A repeated name leaves only its last value in the dict; every one must be right, so unless it stands there alone all
    are read. An escape may spell the name too ("\\u006bey"), so any \\u00 counts as a possible one.
    """
    given = [value.pop("key")]
    if not is_alone:
        given = [item for name, item in decode_pairs(text) if name == "key"]
    return tuple(item if type(item) is str else None for item in given)


def _from_form(body: bytes | bytearray, has_key: bool) -> Pieces:
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


def _from_data(body: bytes | bytearray) -> Pieces:
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
    return b"".join((b'"json":null,"data":"', escaped, b'"')), len(body), b"", ()


# RFC 8259, 7. The backslash first: the others' escapes bring new ones.
_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))
_RARE_CONTROLS = tuple(bytes((code,)) for code in range(32) if code not in b"\n\r\t")


def gunzip(body: bytes | bytearray, limit_bytes: int) -> bytes:
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
