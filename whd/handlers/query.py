"""A request's query string: what it asks of whd itself, and what is left for the flow. Pure.

`key` and `async` are whd's and taken out; the rest goes to the flow as text, a bare name as "", a repeated one as a
list.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import BadRequest
from ..model.caller_check import Query
from ..wire.payload import add_repeated

MAX_QUERY_FIELDS = 1_000
_YES = {"", "1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}


EMPTY = Query({})


def parse(text: str, *, has_key: bool = True) -> Query:
    """Reads a query string as forms are encoded (WHATWG URL, application/x-www-form-urlencoded).

    `has_key`: `key` is whd's, as the webhook asks for one; else it is the flow's. Raises BadRequest.
    """
    if not text:
        return EMPTY
    fields: dict[str, Any] = {}
    keys: list[bytes] = []
    is_async: bool | None = None
    parts = text.split("&")
    if len(parts) > MAX_QUERY_FIELDS:
        raise BadRequest(f"the query has more than {MAX_QUERY_FIELDS} fields")
    for part in parts:
        if not part:
            continue
        raw_name, _, raw_value = part.partition("=")
        name = _unquote(raw_name).decode("utf-8", "replace")
        if name == "key" and has_key:
            keys.append(_unquote(raw_value))
        elif name == "async":
            is_async = _truth(_unquote(raw_value).decode("utf-8", "replace"))
        else:
            add_repeated(fields, name, _unquote(raw_value).decode("utf-8", "replace"))
    return Query(fields, tuple(keys), is_async)


def keys_with_plus(text: str) -> tuple[bytes, ...]:
    """Every value of `key` as it would be if a + stood for itself, as who pastes a key into a URL may think."""
    parts = (part.partition("=") for part in text.split("&")[:MAX_QUERY_FIELDS])
    return tuple(unquote_to_bytes(value) for name, _, value in parts if _unquote(name) == b"key")


def _unquote(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))


def _truth(value: str) -> bool:
    value = value.lower()
    if value in _YES:
        return True
    if value in _NO:
        return False
    raise BadRequest("async takes 1, true, yes, on or 0, false, no, off")
