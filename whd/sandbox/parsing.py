"""Large payloads and outputs, read where they hold up nobody: the worker's side of `parse` and `check`. Pure."""

from __future__ import annotations

from typing import Any

from .. import payload
from ..errors import BadPayload, TooLarge
from .channel import Frame


def parse(head: dict[str, Any], value: bytes) -> Frame:
    """A request's body, unpacked first if there is a `gunzip_limit`: the answer to `parse`."""
    try:
        body = payload.gunzip(value, head["gunzip_limit"]) if head["gunzip_limit"] else value
        parsed = payload.parse(body, head["content_type"], head["has_key"])
    except (BadPayload, TooLarge) as error:
        return {"op": "parsed", "job": head["job"], "error": error.detail, "status": error.status}, None
    value = b"".join((head["start"].encode("ascii"), parsed.members_json, b"}"))
    return {"op": "parsed", "job": head["job"], "keys": list(parsed.keys)}, value


def check(head: dict[str, Any], value: bytes) -> Frame:
    """An output's text: the answer to `check`."""
    answer = {"op": "checked", "job": head["job"]}
    try:
        payload.decode_strict(value.decode("utf-8"))
    except UnicodeDecodeError:
        answer["error"] = "it is not UTF-8"
    except BadPayload as error:
        answer["error"] = error.detail
    return answer, None
