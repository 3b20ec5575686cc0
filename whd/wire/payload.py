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
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from ..errors import BadPayload, TooLarge
from ..valueclass import valueclass
from . import charsets, multipart
from .pointer import Picked, pick
from .strict_json import decode_pairs, decode_strict, decode_utf8, encode_strict

MAX_FORM_FIELDS = 100_000
# From here on a multipart form is read in a process of its own.
LARGE_MULTIPART_BYTES = 16_384

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


# A member "key" with a text that has no escape, as the first of several.
_KEY_FIRST = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"key"[ \t\r\n]*:[ \t\r\n]*"[^"\\]*"[ \t\r\n]*,')


@valueclass
class Parsed:
    """What a body gave.

    `members_json`: the members `json`, and `data`, `data_encoding` where they apply, as JSON text without braces.
    `keys`: the values of the payload's own `key` members, taken out; None for one that is not text. `is_whole`: another
    process read it, and `members_json` is all of the input_value. `picked`: the texts at the JSON pointers that were
    asked for.
    """

    members_json: bytes
    keys: tuple[str | None, ...] = ()
    is_whole: bool = False
    picked: Picked | None = None


NO_PAYLOAD = Parsed(b'"json":null')

# What a body gave, in pieces, so that nothing large is copied: the text before, the offset from which on the body is
# passed on (its length: nothing of it is), the text behind, and the keys as in Parsed.
Pieces = tuple[bytes, int, bytes, tuple[str | None, ...]]
SeeValue = Callable[[Any], object]


def parse(body: bytes, content_type: str, has_key: bool, pointers: Sequence[str] = (), unwrap: str = "") -> Parsed:
    """Reads a body. `has_key`: the webhook has a key, so that a member `key` is taken out of the payload.

    `pointers`: what to pick out of it. `unwrap`: the member of a form that is the payload, as JSON. Raises BadPayload
    for JSON or a form that cannot be read.
    """
    if not body:
        return NO_PAYLOAD
    if pointers:
        picked: Picked = {}
        begin, rest_from, end, keys = parse_in_pieces(body, content_type, has_key, picker(pointers, picked), unwrap)
        return Parsed(b"%b%b%b" % (begin, body[rest_from:], end), keys, picked=picked)
    begin, rest_from, end, keys = parse_in_pieces(body, content_type, has_key, None, unwrap)
    return Parsed(b"%b%b%b" % (begin, body[rest_from:], end), keys)


def picker(pointers: Sequence[str], picked: Picked) -> SeeValue:
    """Puts what stands at the pointers into `picked`, once the payload's value is known."""
    return lambda value: picked.update(pick(value, pointers))


def parse_in_pieces(
    body: bytes | bytearray, content_type: str, has_key: bool, see: SeeValue | None = None, unwrap: str = ""
) -> Pieces:
    """`parse` without a copy of what is passed on as it came. `see`: called with the value of JSON or a form."""
    kind, codec = _read_type(content_type)
    if kind == _JSON:
        try:
            return _from_json(decode_utf8(body), body, has_key, see)
        except BadPayload:
            if _BLANK.fullmatch(body):
                return _nothing(body)
            raise
    if _LIKE_JSON.match(body):
        try:
            return _from_json(decode_utf8(body), body, has_key, see)
        except BadPayload:
            # The type did not promise JSON: a form or plain data may begin with a bracket. But curl -d sends a form
            # type, many senders none, and a form or a text would hide from them that what they sent is not JSON.
            if kind not in (_OTHER, _MULTIPART) and _MEANS_JSON.match(body):
                raise
    if not body or body == codecs.BOM_UTF8:
        return _nothing(body)
    if kind == _FORM:
        return _from_form(body, codec, has_key, see, unwrap)
    if kind == _MULTIPART:
        return _from_multipart(body, content_type, has_key, see, unwrap)
    return _from_data(body)


# What a content type says of a body.
_JSON, _FORM, _MULTIPART, _NONE, _OTHER = "JSON", "form", "multipart", "none", "other"
# RFC 9110, 8.3.1, as far as senders keep to it: a comma where a semicolon belongs, quotes, white space.
_MEDIA_TYPE = re.compile(r"""[\s,;"']*([^\s,;"'/]+/[^\s,;"']+)""")
_CHARSET = re.compile(r"""[\s,;]charset\s*=[\s"']*([^\s,;"']+)""", re.IGNORECASE)


@lru_cache(maxsize=256)
def _read_type(content_type: str) -> tuple[str, str | None]:
    """The kind of the media type, and the codec of the charset that it names, if any. What is no type is none."""
    found = _MEDIA_TYPE.match(content_type)
    media_type = found[1].lower() if found else ""
    charset = _CHARSET.search(content_type)
    codec = charsets.codec_of(charset[1]) if charset else None
    if not media_type:
        return _NONE, codec
    if media_type == "application/json" or media_type.endswith("+json"):
        return _JSON, codec
    if media_type == multipart.MEDIA_TYPE:
        return _MULTIPART, codec
    return (_FORM if media_type == "application/x-www-form-urlencoded" else _OTHER), codec


def is_multipart(content_type: str) -> bool:
    """Whether a body of this type has parts to look for, unless it is JSON all the same."""
    return _read_type(content_type)[0] == _MULTIPART


_BLANK = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*")
_LIKE_JSON = re.compile(_BLANK.pattern + rb"[\[{]")
# CONTRACT 3, Payload: what plainly means to be JSON. `[INFO] started` does not, nor does the form `[0]=a`.
_MEANS_JSON = re.compile(_BLANK.pattern + rb'(?:\{[ \t\r\n]*["}]|\[[ \t\r\n]*[{\["\]])')


def _nothing(body: bytes | bytearray) -> Pieces:
    return NO_PAYLOAD.members_json, len(body), b"", ()


def _from_json(text: str, body: bytes | bytearray, has_key: bool, see: SeeValue | None) -> Pieces:
    value = decode_strict(text)
    if see is not None:
        see(value)
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


def _from_form(body: bytes | bytearray, codec: str | None, has_key: bool, see: SeeValue | None, unwrap: str) -> Pieces:
    """A dict of text in the charset that is declared: by the type (`codec`), a member _charset_ or charset, or UTF-8.

    What it does not fit is data, as it came.
    """
    fields: dict[str, Any] = {}
    keys: list[str | None] = []
    try:
        for name, value in _form_pairs(body, codec):
            if has_key and name == "key":
                keys.append(value)
            else:
                add_repeated(fields, name, value)
    except UnicodeDecodeError:
        return _from_undecodable(body, has_key)
    return _form_members(fields, see, unwrap), len(body), b"", tuple(keys)


def _from_multipart(
    body: bytes | bytearray, content_type: str, has_key: bool, see: SeeValue | None, unwrap: str
) -> Pieces:
    form = multipart.parse(body, content_type, has_key)
    members = b'%b,"files":%b' % (_form_members(form.fields, see, unwrap), _encode(form.files).encode("ascii"))
    return members, len(body), b"", form.keys


def _form_members(fields: dict[str, Any], see: SeeValue | None, unwrap: str) -> bytes:
    """A form's fields as the member `json`; with the field `unwrap`, its JSON is that, and the others are `form`."""
    text = fields.get(unwrap) if unwrap else None
    data = text.encode("utf-8", "surrogatepass") if type(text) is str else b""
    if type(text) is not str or not _MEANS_JSON.match(data):
        if see is not None:
            see(fields)
        return b'"json":' + _encode(fields).encode("ascii")
    try:
        value = decode_strict(text)
    except BadPayload as error:
        raise BadPayload(f"the form's member {unwrap}: {error.detail}") from None
    if see is not None:
        see(value)
    others = {name: item for name, item in fields.items() if name != unwrap}
    return b'"json":%b,"form":%b' % (data, _encode(others).encode("ascii"))


def _form_pairs(body: bytes | bytearray, codec: str | None) -> list[tuple[str, str]]:
    if codec in charsets.UTF_16:
        # Escapes are never UTF-16 (WHATWG Encoding, 4.3: its output encoding is UTF-8); the whole body may be.
        body = body.decode(codec).encode("utf-8") if b"\0" in body else body
        codec = charsets.UTF_8
    # As one character for each byte: which charset they are in may stand within.
    text = body.removeprefix(codecs.BOM_UTF8).decode("latin-1")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, encoding="latin-1", max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise BadPayload(f"the form has more than {MAX_FORM_FIELDS} fields") from None
    codec = codec or charsets.declared_in(pairs) or charsets.UTF_8
    if codec == charsets.UTF_8 and text.isascii() and "%" not in text:
        return pairs
    return [(_in_charset(name, codec), _in_charset(value, codec)) for name, value in pairs]


def _in_charset(text: str, codec: str) -> str:
    if codec == charsets.UTF_8 and text.isascii():
        return text
    return text.encode("latin-1").decode(codec, charsets.STRICT)


def _from_undecodable(body: bytes | bytearray, has_key: bool) -> Pieces:
    """A form in an unknown charset; its key, which is text, is taken out all the same."""
    kept: list[bytes | bytearray] = []
    keys: list[str | None] = []
    for part in body.split(b"&") if has_key else ():
        name, _, value = part.partition(b"=")
        if unquote_to_bytes(name.replace(b"+", b" ")) != b"key":
            kept.append(part)
            continue
        try:
            keys.append(unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8"))
        except UnicodeDecodeError:
            keys.append(None)
    if not keys:
        return _from_data(body)
    data = b"&".join(kept)
    begin, rest_from, end, _ = _from_data(data)
    return b"".join((begin, data[rest_from:], end)), len(body), b"", tuple(keys)


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
    start = _mark_bytes(body)
    if any(map(body.__contains__, _RARE_CONTROLS)):
        text = text.removeprefix("\ufeff")
        return b'"json":null,"data":' + _encode(text).encode("ascii"), len(body), b"", ()
    # What JSON escapes, each at the speed of memchr(3): 20 times as fast as the encoder, which looks at each character.
    escaped = body
    for character, escape in _ESCAPES:
        escaped = escaped.replace(character, escape)
    if len(escaped) == len(body):
        return b'"json":null,"data":"', start, b'"', ()
    return b"".join((b'"json":null,"data":"', memoryview(escaped)[start:], b'"')), len(body), b"", ()


# RFC 8259, 7. The backslash first: the others' escapes bring new ones.
_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))
_RARE_CONTROLS = tuple(bytes((code,)) for code in range(32) if code not in b"\n\r\t")


def gunzip(body: bytes | bytearray, limit_bytes: int) -> bytes:
    """Unpacks a gzip body (RFC 1952), several members and zero padding included, as gzip(1) does.

    Raises BadPayload, or TooLarge past `limit_bytes`.
    """
    parts: list[bytes] = []
    room = limit_bytes
    view = memoryview(body)
    at = 0
    while at < len(view):
        unpacker = zlib.decompressobj(wbits=31)
        while not unpacker.eof:
            # In pieces: what is left of one behind a member's end is copied, and there may be a million members.
            piece = view[at : at + _PIECE_BYTES]
            if not piece:
                raise BadPayload("the gzip body ends too early")
            at += len(piece)
            try:
                # One byte more than allowed tells "exactly full" from "too much" without unpacking a bomb.
                part = unpacker.decompress(piece, room + 1)
            except zlib.error:
                raise BadPayload("the body is not gzip, as its content-encoding says") from None
            room -= len(part)
            if room < 0:
                raise TooLarge(f"the body unpacks to more than max_body_bytes = {limit_bytes} bytes")
            parts.append(part)
        at -= len(unpacker.unused_data)
        if at < len(view) and view[at] == 0 and not bytes(view[at:]).strip(b"\0"):
            break
    return b"".join(parts)


_PIECE_BYTES = 16_384
