"""From an answer to a REST execution's output_value. Pure.

    status_code      a number
    headers          a dict, names in lower case; a repeated field is joined with ", " (RFC 9110, 5.3), but
                     set-cookie, whose values hold commas, with line feeds
    cookies          a dict of the names that the answer sets to their values, the last of a name; {} for none
    encoding         the charset that the body was read by, in lower case; null for what is no text
    json             the value, if the body is strict JSON and its content type is JSON (application/json, */*+json),
                     some text or none; without JSON's own content type only what is an object or an array
    text             the body as text, if it is text by its charset (UTF-8 if it names none); "" without a body. Beside
                     `json` up to TEXT_BESIDE_JSON_BYTES: of more, the value says all and the text would double it
    data             else the body in base64, with data_encoding: "base64"; a body with a content coding (gzip was not
                     asked for) is given like this, too

The JSON parser keeps the interpreter to itself while it works. For large answers there is the other way: `json_text`,
checked in another process (pool.payload_parser), then `output_json`, which passes it on byte for byte.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
from typing import Any

from ..errors import BadPayload
from ..wire.strict_json import decode_strict
from .values import RestResult

# Python's codecs are more than charsets: punycode and idna take quadratic time, unicode_escape and others are no
# charsets at all. These are what web pages use (WHATWG Encoding, 4.2) and the standard library has.
_CHARSET = re.compile(
    r"utf-?8|utf-?16(?:le|be)?|utf-?32(?:le|be)?|us-ascii|ascii|latin-?1|iso-?8859-[0-9]{1,2}|windows-?125[0-8]"
    r"|cp125[0-8]|cp437|cp85[0-9]|koi8-[ru]|gb2312|gbk|gb18030|big5|euc-(?:jp|kr)|shift[-_]jis|iso-2022-jp|macintosh"
)
_CHARSET_PARAMETER = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)

TEXT_BESIDE_JSON_BYTES = 262_144

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def output_of(result: RestResult, *, may_be_json: bool = True, text_beside_json: bool = True) -> dict[str, Any]:
    """The output_value. `may_be_json` False: JSON that was found wrong elsewhere is given as text."""
    if may_be_json and (body := json_text(result)) is not None:
        try:
            text = body.decode("utf-8")
            value = decode_strict(text)
        except BadPayload:
            pass  # A wrong content type is common; the author sees in the text what came instead.
        else:
            output = _output(result, "utf-8")
            if text_beside_json and len(body) <= TEXT_BESIDE_JSON_BYTES:
                output["text"] = text
            output["json"] = value
            return output
    text_or_none, encoding = _text(result)
    output = _output(result, encoding)
    if text_or_none is None:
        return output | {"data": base64.b64encode(result.body).decode("ascii"), "data_encoding": "base64"}
    return output | {"text": text_or_none}


def json_text(result: RestResult) -> bytes | None:
    """The body if it says that it is JSON, in UTF-8 and without a byte order mark; not parsed yet. None if not."""
    if not result.body or _has_coding(result):
        return None
    body = result.body.removeprefix(codecs.BOM_UTF8)
    content_type = _field(result, "content-type")
    if not _is_json_type(content_type) and not (_may_be_json(content_type) and body.strip()[:1] in (b"{", b"[")):
        return None
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return body


def output_json(result: RestResult, checked_json: bytes, *, text_beside_json: bool = True) -> bytes:
    """The output_value as JSON text with `json_text`'s answer in it, which must have been found to be strict JSON."""
    output = _output(result, "utf-8")
    if len(checked_json) <= TEXT_BESIDE_JSON_BYTES and text_beside_json:
        output["text"] = checked_json.decode("utf-8")
    head = _encode(output)
    return b"".join((head[:-1].encode("ascii"), b',"json":', checked_json, b"}"))


def _output(result: RestResult, encoding: str | None) -> dict[str, Any]:
    """What every answer has."""
    return {
        "status_code": result.status_code,
        "headers": _headers(result),
        "cookies": _cookies(result),
        "encoding": encoding,
    }


def _cookies(result: RestResult) -> dict[str, str]:
    """What the Set-Cookie fields set (RFC 6265, 5.2); how long and where each is good for stays in the headers."""
    cookies: dict[str, str] = {}
    for name, value in result.headers:
        if name == "set-cookie":
            key, separator, text = value.partition(";")[0].partition("=")
            if separator and key.strip():
                cookies[key.strip()] = text.strip()
    return cookies


def _headers(result: RestResult) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in result.headers:
        present = headers.get(name)
        separator = "\n" if name == "set-cookie" else ", "
        headers[name] = value if present is None else f"{present}{separator}{value}"
    return headers


def _field(result: RestResult, wanted: str) -> str:
    return next((value for name, value in result.headers if name == wanted), "")


def _is_json_type(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _may_be_json(content_type: str) -> bool:
    """For servers that do not say what they send: the rule of incoming payloads (CONTRACT 3)."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in ("", "application/octet-stream") or media_type.startswith("text/")


def _has_coding(result: RestResult) -> bool:
    return _field(result, "content-encoding").strip().lower() not in ("", "identity")


def _text(result: RestResult) -> tuple[str | None, str | None]:
    """The body decoded by its charset, and the charset; None and None if it does not fit it."""
    if _has_coding(result):
        return None, None
    named = _CHARSET_PARAMETER.search(_field(result, "content-type"))
    charset = named[1].lower() if named else "utf-8"
    if not _CHARSET.fullmatch(charset):
        charset = "utf-8"
    try:
        text = result.body.decode("mac_roman" if charset == "macintosh" else charset)
    except (UnicodeDecodeError, LookupError):
        return None, None
    return text.removeprefix("\ufeff"), charset
