"""A flow's own answer to the webhook's caller: checked here, so that the flow hears what is wrong with it.

Pure. The daemon checks it once more. Shape: {status, headers: {name: value or list of values}, body | body_base64}.
"""

from __future__ import annotations

import base64
from typing import Any

from ..wire.response_headers import HeaderRefused, Setter, read_fields
from .errors import InvalidInputError
from .outputs import NoJsonForm, to_json


def make_response(
    body: Any,
    status: Any,
    headers: Any,
    content_type: str | None,
    *,
    is_json: bool = False,
    cookie_paths: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The answer as it goes to the daemon. `content_type`: None for what the body's type suggests.

    `is_json`: every body is written as JSON, texts too. `cookie_paths`: as read_fields has it.

    Raises InvalidInputError naming what is wrong.
    """
    if type(status) is not int or not 200 <= status <= 599:
        raise InvalidInputError(f"webhook_response: status must be a whole number from 200 to 599, not {status!r}")
    member, text, suggested = _json_body(body) if is_json else _body(body)
    fields = _headers(headers, cookie_paths)
    fields.setdefault("content-type", content_type or suggested)
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


def _headers(headers: Any, cookie_paths: tuple[str, ...]) -> dict[str, str | list[str]]:
    if headers is None:
        return {}
    if not isinstance(headers, dict):
        raise InvalidInputError("webhook_response: headers must be a dict of names and values")
    given: list[tuple[str, str | list[str]]] = []
    for key, value in dict.items(headers):
        if not isinstance(key, str):
            raise InvalidInputError(f"webhook_response: a header's name must be text, not {type(key).__name__}")
        name = str.__str__(key)
        if isinstance(value, (list, tuple)):
            items = list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value)
            given.append((name, [_text(name, item) for item in items]))
        else:
            given.append((name, _text(name, value)))
    try:
        found = read_fields(given, Setter.FLOW, cookie_paths)
    except HeaderRefused as error:
        raise InvalidInputError(f"webhook_response: {error}") from None
    fields: dict[str, str | list[str]] = {}
    for name, text in found:
        present = fields.get(name)
        if present is None:
            fields[name] = text
        elif isinstance(present, list):
            present.append(text)
        else:
            fields[name] = [present, text]
    return fields


def _text(name: str, value: Any) -> str:
    kind = type(value)
    if kind is int:
        return int.__repr__(value)
    if issubclass(kind, str):
        return str.__str__(value)
    raise InvalidInputError(
        f"webhook_response: the value of header {name!r} must be text, or a list of texts, not {kind.__name__}"
    )
