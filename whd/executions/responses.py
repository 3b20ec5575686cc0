"""A flow's own answer as records keep it, for webhooks whose repeats get the same one. Nothing here does I/O."""

from __future__ import annotations

import base64
import json

from ..pool.job import FlowResponse


def response_to_json(response: FlowResponse) -> bytes:
    """Status, headers and body; the body in base64, as it may be anything."""
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in response.headers]
    body = base64.b64encode(response.body).decode("ascii")
    return json.dumps({"status": response.status, "headers": headers, "body": body}).encode("ascii")


def read_response(response_json: bytes) -> FlowResponse | None:
    """The answer again, None for a record without one."""
    if not response_json:
        return None
    kept = json.loads(response_json)
    headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"])
    return FlowResponse(kept["status"], headers, base64.b64decode(kept["body"]))
