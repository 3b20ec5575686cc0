"""Large payloads and outputs, read where they delay nobody: the worker's side of `parse` and `check`. Pure."""

from __future__ import annotations

from typing import Any

from ..errors import BadPayload, TooLarge
from ..wire import payload, strict_json
from ..wire.pointer import Picked
from .channel import Frame


def parse(head: dict[str, Any], value: bytes | bytearray) -> Frame:
    """A request's body, unpacked first if there is a `gunzip_limit`: the answer to `parse`."""
    try:
        body = payload.gunzip(value, head["gunzip_limit"]) if head["gunzip_limit"] else value
        picked: Picked = {}
        see = payload.picker(head["pointers"], picked) if head["pointers"] else None
        begin, rest_from, end, keys = payload.parse_in_pieces(
            body, head["content_type"], head["has_key"], see, head["unwrap"]
        )
    except (BadPayload, TooLarge) as error:
        return {"op": "parsed", "job": head["job"], "error": error.detail, "status": error.status}, None
    answer: dict[str, Any] = {"op": "parsed", "job": head["job"], "keys": list(keys)}
    if picked:
        answer["picked"] = picked
    begin, end = head["start"].encode("ascii") + begin, end + b"}"
    if body is value and rest_from < len(body):
        # The daemon has it: no need to send it back.
        answer["rest_from"], answer["begin_bytes"] = rest_from, len(begin)
        return answer, begin + end
    return answer, b"".join((begin, memoryview(body)[rest_from:], end))


def check(head: dict[str, Any], value: bytes | bytearray) -> Frame:
    """JSON text that a flow or a REST call gave: the answer to `check`."""
    answer = {"op": "checked", "job": head["job"]}
    try:
        strict_json.decode_strict(value.decode("utf-8"), head["max_depth"])
    except UnicodeDecodeError:
        answer["error"] = "it is not UTF-8"
    except BadPayload as error:
        answer["error"] = error.detail
    return answer, None
