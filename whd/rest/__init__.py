"""Outgoing HTTP calls of flows (this.task('REST'), this.connect): from a flow's inputs to its outputs.

    request = request_from_inputs(inputs)                       pure; raises InputError
    result = await client.call(request, authorize, limits)      or client.start(..., done), which can be cancelled
    output = output_of(result)                                  pure; result.is_expected says whether it failed

`authorize` is auth.connections.check_url for the execution's user; it is asked again for each redirect.
"""

from __future__ import annotations

from .client import RestCall, RestClient
from .inputs import INPUT_NAMES, InputError, request_from_inputs, without_credentials
from .outputs import json_text, output_json, output_of
from .values import RestError, RestFault, RestLimits, RestRequest, RestResult

__all__ = [
    "INPUT_NAMES",
    "InputError",
    "RestCall",
    "RestClient",
    "RestError",
    "RestFault",
    "RestLimits",
    "RestRequest",
    "RestResult",
    "json_text",
    "output_json",
    "output_of",
    "request_from_inputs",
    "without_credentials",
]
