"""A flow's own answer to the webhook's caller: checked here, so that the flow hears what is wrong with it.

Pure. The daemon checks it once more. Shape: {status, headers: {name: value}, body | body_base64}.
"""

from __future__ import annotations

import base64
from typing import Any

from .errors import InvalidInputError
from .outputs import NoJsonForm, to_json

# RFC 9110, 5.6.2: token.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# What the connection decides itself (RFC 9110, 7.6.1; RFC 9112, 6).
_OWN_HEADERS = frozenset(
    {"connection", "content-length", "date", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
MAX_HEADERS = 100
MAX_NAME_CHARS = 200
MAX_VALUE_CHARS = 8_192


def make_response(
    body: Any, status: Any, headers: Any, content_type: str | None, *, is_json: bool = False
) -> dict[str, Any]:
    """The answer as it goes to the daemon. `content_type`: None for what the body's type suggests.

    `is_json`: every body is written as JSON, texts too.

    Raises InvalidInputError naming what is wrong.
    """
    if type(status) is not int or not 200 <= status <= 599:
        raise InvalidInputError(f"webhook_response: status must be a whole number from 200 to 599, not {status!r}")
    member, text, suggested = _json_body(body) if is_json else _body(body)
    fields = _headers(headers)
    if not any(name.lower() == "content-type" for name in fields):
        fields["content-type"] = content_type or suggested
    if status in (204, 205, 304) and text:
        # RFC 9110, 15.3.5, 15.3.6 and 15.4.5: these have no content.
        raise InvalidInputError(f"webhook_response: an answer with status {status} has no body; leave it empty")
    return {"status": status, "headers": fields, member: text}


def _body(body: Any) -> tuple[str, str, str]:
    kind = type(body)
    if body is None:
        return "body", "", "text/plain; charset=utf-8"
    if issubclass(kind, str):
        text = str.__str__(body).encode("utf-8", "replace").decode("utf-8")
        return "body", text, "text/plain; charset=utf-8"
    if issubclass(kind, (bytes, bytearray)):
        return "body_base64", base64.b64encode(body).decode("ascii"), "application/octet-stream"
    return _json_body(body)


def _json_body(body: Any) -> tuple[str, str, str]:
    try:
        return "body", to_json(body, "body").decode("utf-8"), "application/json"
    except NoJsonForm as error:
        raise InvalidInputError(f"webhook_response: {error}") from None


def _headers(headers: Any) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, dict):
        raise InvalidInputError("webhook_response: headers must be a dict of names and values")
    fields: dict[str, str] = {}
    for name, value in dict.items(headers):
        if not isinstance(name, str):
            raise InvalidInputError(f"webhook_response: a header's name must be text, not {type(name).__name__}")
        fields[_header_name(str.__str__(name))] = _header_value(name, value)
    if len(fields) > MAX_HEADERS:
        raise InvalidInputError(f"webhook_response: at most {MAX_HEADERS} headers")
    return fields


def _header_name(name: str) -> str:
    if not name or len(name) > MAX_NAME_CHARS or not _TOKEN.issuperset(name):
        raise InvalidInputError(f"webhook_response: {name[:80]!r} cannot be a header's name")
    if name.lower() in _OWN_HEADERS:
        raise InvalidInputError(f"webhook_response: the header {name!r} is set by the server; leave it out")
    return name


def _header_value(name: str, value: Any) -> str:
    kind = type(value)
    if kind is int:
        text = int.__repr__(value)
    elif issubclass(kind, str):
        text = str.__str__(value)
    else:
        raise InvalidInputError(f"webhook_response: the value of header {name!r} must be text, not {kind.__name__}")
    if len(text) > MAX_VALUE_CHARS:
        raise InvalidInputError(f"webhook_response: the value of header {name!r} is too long")
    if not all(" " <= char <= "~" or char == "\t" or "\u00a0" <= char <= "\u00ff" for char in text):
        # CR, LF and NUL would let a value end the header (RFC 9110, 5.5).
        raise InvalidInputError(
            f"webhook_response: the value of header {name!r} has a line break or another character that HTTP does not "
            "allow; remove it, or encode the value with urllib.parse.quote"
        )
    return text
