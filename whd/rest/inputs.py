"""From a flow's inputs to a request: each input checked, each error naming it and what was expected. Pure.

    url                    text, needed
    method                 one of METHODS, in any case; default 'get'
    data, json, urlencoded the body, at most one of them; None is the same as leaving it out
        data               text (sent as UTF-8) or bytes; a dict or a list is sent as JSON, as scripts of 2019 mean it
        json               any JSON value
        urlencoded         a dict of names to text, numbers, booleans, or lists of these; or such pairs
    headers                a dict of names to text or numbers, or lists of these (a field for each)
    expected_status_code   a number or a list of them; default [200, 201, 202, 204]

What frames the message or decides whom it reaches (FORBIDDEN_HEADERS) is the daemon's business, not the flow's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from .values import EXPECTED_STATUS_CODES, HeaderFields, RestRequest

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
INPUT_NAMES = ("url", "method", "data", "json", "urlencoded", "headers", "expected_status_code")
FORBIDDEN_HEADERS = frozenset(
    "connection content-length expect host http2-settings keep-alive proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)
MAX_HEADERS = 200
# What the original platform's task takes beyond these.
_INSTEAD = {
    "cookies": "send headers={'Cookie': 'name=value'}",
    "cacert": "the certificates of this machine are trusted, and an operator can add one there",
    "pass_user_token": "what is called needs a key of its own, in headers",
    "timeout": "timeout_s of the webhook bounds it",
    **dict.fromkeys(("init", "protect_inputs", "protect_outputs"), "it stands beside inputs, not among them"),
    **dict.fromkeys(("retention_time", "location", "save"), "leave it out"),
}

_BODIES = ("data", "json", "urlencoded")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5: a tab is the one control character allowed
_TEXT_TYPE = "text/plain; charset=utf-8"
_FORM_TYPE = "application/x-www-form-urlencoded"

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


class InputError(ValueError):
    """An input that cannot be used. `kind`: the flow_api error that the flow gets."""

    def __init__(self, text: str, kind: str = "InvalidInputError") -> None:
        super().__init__(text)
        self.kind = kind


def request_from_inputs(inputs: Mapping[str, Any]) -> RestRequest:
    """The request that this.task('REST', **inputs) means. Raises InputError."""
    for name in inputs:
        if name not in INPUT_NAMES:
            instead = f"; {_INSTEAD[name]}" if name in _INSTEAD else ""
            raise InputError(f"REST has no input {str(name)[:50]!r}{instead}; it has {', '.join(INPUT_NAMES)}")
    url = inputs.get("url")
    if url is None:
        raise InputError("REST needs url, as in url='https://api.example.com/items'", "MissingInputError")
    if type(url) is not str:
        raise _wrong("url", "text", url)
    body, content_type = _body(inputs)
    headers = _headers(inputs.get("headers"))
    if content_type and not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("Content-Type", content_type))
    return RestRequest(
        _method(inputs.get("method")), url, headers, body, _status_codes(inputs.get("expected_status_code"))
    )


def _wrong(name: str, expected: str, value: object) -> InputError:
    return InputError(f"REST's {name} must be {expected}, not {type(value).__name__}")


def _method(value: Any) -> str:
    if value is None:
        return "GET"
    if type(value) is not str:
        raise _wrong("method", "text", value)
    method = value.upper()
    if method not in METHODS:
        raise InputError(f"REST's method must be one of {', '.join(METHODS)}, not {value[:50]!r}")
    return method


def _body(inputs: Mapping[str, Any]) -> tuple[bytes | None, str]:
    given = [name for name in _BODIES if inputs.get(name) is not None]
    if not given:
        return None, ""
    if len(given) > 1:
        raise InputError(f"REST takes one of data, json and urlencoded, not {' and '.join(given)}")
    name = given[0]
    return _BODY_READERS[name](inputs[name])


def _read_data(value: Any) -> tuple[bytes, str]:
    if type(value) is bytes:
        return value, "application/octet-stream"
    if type(value) in (dict, list):
        return _read_json(value)
    if type(value) is not str:
        raise InputError(
            f"REST's data must be text, not {type(value).__name__}: json= sends JSON, urlencoded= sends a form"
        )
    return _utf_8("data", value), _TEXT_TYPE


def _read_json(value: Any) -> tuple[bytes, str]:
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"REST's json cannot be written as JSON: {error}") from None
    return _utf_8("json", text), "application/json"


def _read_urlencoded(value: Any) -> tuple[bytes, str]:
    expected = "a dict of names to text, numbers or lists of these"
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif type(value) in (list, tuple) and all(type(pair) in (list, tuple) and len(pair) == 2 for pair in value):
        pairs = [(name, item) for name, item in value]
    else:
        raise _wrong("urlencoded", expected, value)
    fields = []
    for name, item in pairs:
        if type(name) is not str:
            raise _wrong("urlencoded", "keyed by text", name)
        fields += [(name, _form_text(name, each)) for each in _each(item)]
    try:
        return urlencode(fields, errors="strict").encode("ascii"), _FORM_TYPE
    except UnicodeEncodeError:
        raise InputError("REST's urlencoded holds half a surrogate pair, which is no character") from None


_BODY_READERS = {"data": _read_data, "json": _read_json, "urlencoded": _read_urlencoded}


def _form_text(name: str, value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) not in (str, int, float):
        raise _wrong(f"urlencoded[{name[:50]!r}]", "text, a number or a list of these", value)
    return str(value)


def _each(value: Any) -> Iterable[Any]:
    return value if type(value) in (list, tuple) else (value,)


def _utf_8(name: str, text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"REST's {name} holds half a surrogate pair, which is no character") from None


def _headers(value: Any) -> HeaderFields:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise _wrong("headers", "a dict of names to text", value)
    headers = []
    for name, item in value.items():
        if type(name) is not str or not _TOKEN.fullmatch(name):
            raise InputError(f"REST's headers has a name that HTTP does not allow: {str(name)[:50]!r}")
        if name.lower() in FORBIDDEN_HEADERS:
            raise InputError(f"REST's headers must not have {name}, which whd sets itself: leave it out")
        headers += [(name, _header_text(name, each)) for each in _each(item)]
    if len(headers) > MAX_HEADERS:
        raise InputError(f"REST's headers has {len(headers)} fields, at most {MAX_HEADERS} are sent")
    return tuple(headers)


def _header_text(name: str, value: Any) -> str:
    if type(value) not in (str, int, float):
        raise _wrong(f"headers[{name[:50]!r}]", "text or a number", value)
    text = str(value).strip(" \t")
    # Not repeated in the message: it may be a credential.
    if _NO_VALUE.search(text):
        raise InputError(f"REST's headers[{name[:50]!r}] holds a control character, such as a line break")
    _utf_8(f"headers[{name[:50]!r}]", text)
    return text


def _status_codes(value: Any) -> tuple[int, ...]:
    if value is None:
        return EXPECTED_STATUS_CODES
    codes = tuple(_each(value))
    for code in codes:
        if type(code) is not int or not 100 <= code <= 999:
            raise InputError("REST's expected_status_code must be a number from 100 to 999, or a list of these")
    if not codes:
        raise InputError("REST's expected_status_code is an empty list: no answer would be right")
    return codes
