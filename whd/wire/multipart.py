"""multipart/form-data (RFC 7578 over RFC 2046, 5.1): a body's bytes to fields of text and files. Pure.

Strict where parsers could differ on where a part ends (lines end in CR LF, the last delimiter must be there), lenient
in how browsers, curl and libraries write names. Linear in the body's size.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from ..errors import BadPayload
from . import charsets

MAX_PARTS: Final = 1_000
MAX_PART_HEAD_BYTES: Final = 8_192
# RFC 2046, 5.1.1: 1 to 70 characters, of these, and no space at the end.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
MEDIA_TYPE: Final = "multipart/form-data"
_BOUNDARY_PARAMETER = re.compile(r""";\s*boundary\s*=\s*(?:"([^"\\]*)"|([^\s;"]+))""", re.IGNORECASE)
# What may stand behind a delimiter on its line: RFC 2046's transport padding; with -- it is the last one.
_DELIMITER_END = re.compile(rb"(--)?[ \t]{0,64}(?:\r\n|\Z)")
_PARAMETER = re.compile(rb';[ \t]*([A-Za-z0-9*_-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*')
# RFC 8187, 3.2.1, which urllib3 wrote for names beyond ASCII.
_EXTENDED = re.compile(rb"([A-Za-z0-9_-]+)'[^']*'(.*)", re.DOTALL)
_ESCAPED = re.compile(rb'\\(["\\])')
_PERCENT = re.compile(rb"%(0[Aa]|0[Dd]|22)")
_UNCODED: Final = frozenset((b"7bit", b"8bit", b"binary", b""))


@dataclass(frozen=True, slots=True)
class _Part:
    name: bytes
    filename: bytes | None
    content_type: str
    content: bytes | bytearray


@dataclass(frozen=True, slots=True)
class Form:
    """`fields`: text by name; `files`: {filename, content_type, size, data[, data_encoding]} by name; several: a list.

    `keys`: the values of the text fields `key`, taken out; None for one that is not text.
    """

    fields: dict[str, Any]
    files: dict[str, Any]
    keys: tuple[str | None, ...]


def parse(body: bytes | bytearray, content_type: str, has_key: bool) -> Form:
    """Reads a body. `has_key`: fields named `key` are taken out. Raises BadPayload."""
    parts = _parts(body, _boundary(content_type))
    codec = _declared_codec(parts)
    fields: dict[str, Any] = {}
    files: dict[str, Any] = {}
    keys: list[str | None] = []
    for part in parts:
        name = _text_of_name(part.name, codec)
        text = None if part.filename is not None else _field_text(part, codec)
        if has_key and name == "key" and part.filename is None:
            keys.append(text)
        elif text is not None:
            _add(fields, name, text)
        else:
            # A field that its charset does not fit is kept as it came, as a file without a name.
            _add(files, name, _file(part, codec))
    return Form(fields, files, tuple(keys))


def _add(values: dict[str, Any], name: str, value: Any) -> None:
    if name not in values:
        values[name] = value
    elif type(values[name]) is list:
        values[name].append(value)
    else:
        values[name] = [values[name], value]


def _boundary(content_type: str) -> bytes:
    found = _BOUNDARY_PARAMETER.search(content_type)
    boundary = (found[1] if found[1] is not None else found[2]) if found else ""
    if not _BOUNDARY.fullmatch(boundary):
        raise BadPayload("multipart/form-data needs a boundary of 1 to 70 characters in its content-type (RFC 2046)")
    return boundary.encode("ascii")


def _parts(body: bytes | bytearray, boundary: bytes) -> list[_Part]:
    delimiter = b"\r\n--" + boundary
    start, is_last = _first_delimiter(body, delimiter)
    parts: list[_Part] = []
    while not is_last:
        if len(parts) == MAX_PARTS:
            raise BadPayload(f"the form has more than {MAX_PARTS} parts")
        # The CR LF of an empty part's content may be the one that ends its head.
        head_end = body.find(b"\r\n\r\n", start, start + MAX_PART_HEAD_BYTES + 4)
        if head_end < 0:
            raise BadPayload(f"part {len(parts) + 1}: its head does not end within {MAX_PART_HEAD_BYTES} bytes")
        end, after, is_last = _next_delimiter(body, delimiter, head_end + 2)
        content = body[head_end + 4 : end]
        parts.append(_read_part(bytes(body[start:head_end]), content, len(parts) + 1))
        start = after
    return parts


def _first_delimiter(body: bytes | bytearray, delimiter: bytes) -> tuple[int, bool]:
    """Where the first part begins, and whether there is none."""
    if body.startswith(delimiter[2:]):
        line_end = _DELIMITER_END.match(body, len(delimiter) - 2)
        if line_end:
            return line_end.end(), line_end[1] is not None
    _end, after, is_last = _next_delimiter(body, delimiter, 0)
    return after, is_last


def _next_delimiter(body: bytes | bytearray, delimiter: bytes, start: int) -> tuple[int, int, bool]:
    """Where the next delimiter begins, what is behind it begins, and whether it is the last one."""
    at = body.find(delimiter, start)
    while at >= 0:
        line_end = _DELIMITER_END.match(body, at + len(delimiter))
        if line_end and (line_end[1] is not None or line_end.end() < len(body)):
            return at, line_end.end(), line_end[1] is not None
        # A longer line that begins so is content.
        at = body.find(delimiter, at + 2)
    raise BadPayload("the form is cut off: its last boundary is missing")


def _read_part(head: bytes, content: bytes | bytearray, number: int) -> _Part:
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or name.strip() != name or name in headers or b"\n" in line or b"\r" in line:
            raise BadPayload(f"part {number}: its head cannot be read")
        headers[name] = value.strip(b" \t")
    if headers.get(b"content-transfer-encoding", b"").lower() not in _UNCODED:
        raise BadPayload(f"part {number}: content-transfer-encoding is not used in forms (RFC 7578, 4.7)")
    kind = headers.get(b"content-disposition", b"").partition(b";")[0]
    is_form_data = kind.strip().lower() == b"form-data"
    parameters = _parameters(headers[b"content-disposition"][len(kind) :]) if is_form_data else {}
    if b"name" not in parameters:
        raise BadPayload(f"part {number}: content-disposition must be form-data with a name")
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    return _Part(parameters[b"name"], parameters.get(b"filename"), content_type, content)


def _parameters(text: bytes) -> dict[bytes, bytes]:
    """The parameters of a content-disposition; none if they cannot be read. An extended one (name*) wins."""
    plain: dict[bytes, bytes] = {}
    extended: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        found = _PARAMETER.match(text, at)
        if not found:
            return {} if text[at:].strip(b"; \t") else plain | extended
        at = found.end()
        name = found[1].lower()
        if name in plain or (name.endswith(b"*") and name[:-1] in extended):
            return {}
        if name.endswith(b"*"):
            value = _extended(found[3] or found[2] or b"")
            if value is None:
                return {}
            extended[name[:-1]] = value
        else:
            plain[name] = found[3] if found[2] is None else _unquoted(found[2])
    return plain | extended


def _unquoted(text: bytes) -> bytes:
    """Browsers write %22 for a quote and leave backslashes (WHATWG HTML, 4.10.21.8), others a backslash before both."""
    return _PERCENT.sub(lambda found: bytes((int(found[1], 16),)), _ESCAPED.sub(rb"\1", text))


def _extended(text: bytes) -> bytes | None:
    found = _EXTENDED.fullmatch(text)
    codec = charsets.codec_of(found[1].decode("ascii")) if found else None
    if not found or codec is None:
        return None
    try:
        return unquote_to_bytes(found[2]).decode(codec, charsets.STRICT).encode("utf-8")
    except UnicodeDecodeError:
        return None


def _declared_codec(parts: list[_Part]) -> str:
    """RFC 7578, 4.6: the charset of all fields that name none."""
    for part in parts:
        if part.name == b"_charset_" and part.filename is None:
            return charsets.codec_of(part.content.decode("latin-1")) or charsets.UTF_8
    return charsets.UTF_8


def _text_of_name(name: bytes, codec: str) -> str:
    for attempt in ("utf-8", codec):
        try:
            return name.decode(attempt)
        except UnicodeDecodeError:
            continue
    return name.decode("latin-1")


_CHARSET = re.compile(r""";\s*charset\s*=[\s"']*([^\s,;"']+)""", re.IGNORECASE)


def _field_text(part: _Part, codec: str) -> str | None:
    named = _CHARSET.search(part.content_type)
    own = charsets.codec_of(named[1]) if named else None
    try:
        return part.content.decode(own or codec, charsets.STRICT)
    except UnicodeDecodeError:
        return None


def _file(part: _Part, codec: str) -> dict[str, Any]:
    filename = None if part.filename is None else _text_of_name(part.filename, codec)
    content_type = part.content_type or None
    described = {"filename": filename, "content_type": content_type, "size": len(part.content)}
    try:
        return {**described, "data": part.content.decode("utf-8")}
    except UnicodeDecodeError:
        return {**described, "data": base64.b64encode(part.content).decode("ascii"), "data_encoding": "base64"}
