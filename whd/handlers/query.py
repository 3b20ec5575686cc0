"""A request's query string: what it asks of whd itself, and what is left for the flow. Pure.

`key` and `async` are whd's and taken out; the rest goes to the flow as text, a bare name as "", a repeated one as a
list. The text is in the charset that the query's own `_charset_` or `charset` names, as in forms, else in UTF-8; what
does not fit it stays percent-encoded, so that nothing is lost.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import BadRequest
from ..model.caller_check import Query
from ..wire.charsets import ESCAPED, STRICT, UTF_8, declared_in
from ..wire.payload import add_repeated

MAX_QUERY_FIELDS = 1_000
_YES = {"", "1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}


EMPTY = Query({})


def parse(text: str, *, has_key: bool = True, codec: str = UTF_8) -> Query:
    """Reads a query string as forms are encoded (WHATWG URL, application/x-www-form-urlencoded).

    `has_key`: `key` is whd's, as the webhook asks for one; else it is the flow's. `codec`: what the text is in, where
    that is known already. Raises BadRequest.
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
        name = _unquote(raw_name).decode(codec, ESCAPED)
        if name == "key" and has_key:
            keys.append(_unquote(raw_value) if codec == UTF_8 else _in_utf_8(_unquote(raw_value), codec))
        elif name == "async":
            is_async = _truth(_unquote(raw_value).decode(codec, ESCAPED))
        else:
            add_repeated(fields, name, _unquote(raw_value).decode(codec, ESCAPED))
    if codec == UTF_8 and ("_charset_" in fields or "charset" in fields):
        named = declared_in((name, value) for name in _CHARSETS for value in _values(fields.get(name)))
        if named is not None and named != UTF_8:
            return parse(text, has_key=has_key, codec=named)
    return Query(fields, tuple(keys), is_async)


_CHARSETS = ("_charset_", "charset")


def _values(field: Any) -> list[str]:
    return field if type(field) is list else [] if field is None else [field]


def _in_utf_8(key: bytes, codec: str) -> bytes:
    """A key's bytes as they are in settings."""
    try:
        return key.decode(codec, STRICT).encode("utf-8")
    except UnicodeDecodeError:
        return key


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
