"""What may be saved: a setting's value, a file's name. Pure functions.

A webhook is as an operator's file could hold it; other settings hold what a flow may put out, as they keep payloads.
"""

from __future__ import annotations

import json
from typing import Any, Final

from ..errors import BadPayload, SaveRefused
from ..settings.document import MAX_DEPTH as MAX_FILE_DEPTH
from ..wire.strict_json import MAX_OUTPUT_DEPTH, decode_strict, depth_of

# A value is parsed, and lives in the memory of the daemon; what is larger belongs in a saved file.
MAX_VALUE_BYTES: Final = 1_048_576
MAX_FILE_NAME_BYTES: Final = 1_024

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def read_value(value_json: bytes, *, is_webhook: bool) -> tuple[Any, bytes]:
    """A setting's value and its JSON as it is kept: compact, UTF-8. Raises SaveRefused."""
    if len(value_json) > 6 * MAX_VALUE_BYTES:
        raise _too_large()
    try:
        value = decode_strict(value_json.decode("utf-8"), MAX_OUTPUT_DEPTH)
    except (BadPayload, UnicodeDecodeError) as error:
        raise invalid(f"the value is not JSON as a setting holds it: {error}") from None
    kept = write_value(value)
    if is_webhook:
        _check_file_value(value, kept)
    if len(kept) > MAX_VALUE_BYTES:
        raise _too_large()
    return value, kept


def _check_file_value(value: Any, kept: bytes) -> None:
    if depth_of(value, MAX_FILE_DEPTH) > MAX_FILE_DEPTH:
        raise invalid(f"the value nests deeper than {MAX_FILE_DEPTH} levels")
    if b"\\ud" in kept:
        try:
            _encode(value).encode("utf-8")
        except UnicodeEncodeError:
            raise invalid("the value holds half of a surrogate pair, which is no text") from None


def write_value(value: Any) -> bytes:
    """A value of JSON types as it is kept; half of a surrogate pair as the escape of JSON. Raises SaveRefused."""
    try:
        return _encode(value).encode("utf-8", "backslashreplace")
    except ValueError:
        raise invalid("the value holds a number that is too large") from None


def appended(value: Any, value_json: bytes, item: Any, item_json: bytes) -> tuple[list[Any], bytes]:
    """A list and its JSON with one item more; what was there is copied, as others may be reading it.

    Raises SaveRefused.
    """
    if type(value) is not list:
        raise invalid(f"the setting holds {_KINDS.get(type(value), 'a number')}, and only a list can be appended to")
    if depth_of(item, MAX_OUTPUT_DEPTH) + 1 > MAX_OUTPUT_DEPTH:
        raise invalid(f"the value nests deeper than {MAX_OUTPUT_DEPTH} levels")
    kept = value_json[:-1] + (b"," if value else b"") + item_json + b"]"
    if len(kept) > MAX_VALUE_BYTES:
        raise _too_large()
    return [*value, item], kept


_KINDS = {dict: "a dict", str: "a text", bool: "true or false", type(None): "null"}


def check_file_name(name: str) -> None:
    """A saved file's name: its full path, relative, none of its parts empty, `.` or `..`. Raises SaveRefused."""
    fault = ""
    if not name:
        fault = "is empty"
    elif len(name.encode("utf-8", "surrogatepass")) > MAX_FILE_NAME_BYTES:
        fault = f"is longer than {MAX_FILE_NAME_BYTES} bytes"
    elif "\0" in name:
        fault = "holds a NUL"
    elif any("\ud800" <= character <= "\udfff" for character in name):
        fault = "holds half of a surrogate pair"
    elif name.startswith("/"):
        fault = "starts with a /; a file's name is a relative path"
    elif not {"", ".", ".."}.isdisjoint(name.split("/")):
        fault = "has an empty part, `.` or `..` in its path"
    if fault:
        raise invalid(f"the file's name {name[:80]!a} {fault}")


def invalid(text: str) -> SaveRefused:
    """The error for what cannot be saved as the flow gave it."""
    return SaveRefused("InvalidInputError", text)


def _too_large() -> SaveRefused:
    return invalid(f"a setting's value takes at most {MAX_VALUE_BYTES} bytes as JSON; save more as a file")


def file_bytes(name: str, content: bytes | str) -> bytes:
    """A file's content as it is kept. Raises SaveRefused."""
    try:
        return content.encode("utf-8") if isinstance(content, str) else bytes(content)
    except UnicodeEncodeError:
        raise invalid(f"the content of {name!r} holds half of a surrogate pair, which is no text") from None
