"""What a webhook's setting says of its answers (SENDERS 8): which form, status and headers. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from .caller_check import Headers

EXECUTION = "execution"
OUTPUT = "output"
NONE = "none"
FORMS = (EXECUTION, OUTPUT, NONE)


@dataclass(frozen=True, slots=True)
class Answering:
    """The answers of one webhook.

    `form`: what a sync caller gets of an execution, one of FORMS. `is_ack`: every call is async. `status`: of a
    success, whatever the flow says; None where the setting has none. `headers`: the operator's, in the place of others
    of their names. `success_status`, `success_headers` and `success_body`: of an ack, and but for the body of NONE; 0
    for what whd answers without a word of the setting or the sender.
    """

    form: str = EXECUTION
    is_ack: bool = False
    status: int | None = None
    headers: Headers = ()
    success_status: int = 0
    success_headers: Headers = ()
    success_body: bytes | None = None
    """None: id and status."""
