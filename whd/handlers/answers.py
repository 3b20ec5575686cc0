"""From an execution to the answer that its webhook gives: the record or the flow's own answer (CONTRACT 3), or what the
webhook's setting says instead (SENDERS 8). Pure.
"""

from __future__ import annotations

from typing import Final

from ..errors import FlowFailed, HttpError, Misconfigured
from ..http.messages import Headers, Response
from ..model.answering import NONE, OUTPUT, Answering
from ..model.execution import Cause, Execution, Status
from ..pool.job import FlowResponse
from .context import EXECUTION_ID, JSON_HEADERS, accepted_response, problem_response, record_response

_STATUS_OF_END: Final = {Status.ENDED_SUCCESS: 200, Status.ENDED_ERROR: 500, Status.ENDED_CANCELLED: 500}
_OUT_OF_TIME: Final = (Cause.TIMEOUT, Cause.CPU)
# RFC 9110, 6.4.1 and 15.3.5, 15.4.5: answers that have no content.
_WITHOUT_CONTENT: Final = (204, 205, 304)
# Answers whose Location says where to look for the result (RFC 9110, 15.3.2 and 15.3.3); elsewhere it leads away.
_WITH_LOCATION: Final = (201, 202)
_TRACEBACK: Final = "Traceback (most recent call last):"
MOST_MESSAGE_CHARS: Final = 1_000


def ended_response(
    execution: Execution, script: str | None, own: FlowResponse | None, answering: Answering | None = None
) -> Response:
    """For a sync caller: the flow's `own` answer, or the record with 200, 500 or 504; or what `answering` says."""
    if execution.cause is Cause.REFUSED:
        return _failed(Misconfigured("the webhook is misconfigured", log_detail=execution.message), execution, None)
    if answering is not None:
        return _end_as(answering, execution, script, own)
    if own is not None and execution.status is Status.ENDED_SUCCESS:
        return _own_response(own, execution)
    return record_response(_end_status(execution), execution, script)


def accept_response(execution: Execution, answering: Answering | None = None, *, has_location: bool = True) -> Response:
    """What an async caller gets once the record is on disk."""
    response = accepted_response(execution, has_location=has_location)
    if answering is None:
        return response
    if not answering.is_ack:
        return _changed(response, answering.headers)
    status = answering.success_status or 202
    headers = response.headers
    if status not in _WITH_LOCATION:
        headers = tuple(header for header in headers if header[0] != b"location")
    body = response.body
    if answering.success_body is not None:
        headers = answering.success_headers + tuple(header for header in headers if header[0] != b"content-type")
        body = answering.success_body
    return _changed(_sendable(status, headers, body), answering.headers)


def head_response(answering: Answering | None, *, is_async: bool) -> Response:
    """As GET would be answered if all went well, and nothing runs."""
    status, headers = 202 if is_async else 200, JSON_HEADERS
    if answering is not None:
        if answering.is_ack:
            status = answering.success_status or 202
        elif not is_async:
            status = answering.success_status or 204 if answering.form == NONE else answering.status or 200
        headers = _replaced(headers, answering.headers)
    return Response(status, headers, omits_length=True)


def _end_status(execution: Execution) -> int:
    return 504 if execution.cause in _OUT_OF_TIME else _STATUS_OF_END[execution.status]


def _own_response(response: FlowResponse, execution: Execution) -> Response:
    body = b"" if response.status in _WITHOUT_CONTENT else response.body
    return Response(response.status, (*response.headers, (EXECUTION_ID, execution.id.encode("ascii"))), body)


def _end_as(answering: Answering, execution: Execution, script: str | None, own: FlowResponse | None) -> Response:
    if execution.status is not Status.ENDED_SUCCESS:
        if answering.form in (OUTPUT, NONE):
            error = FlowFailed(first_line(execution.message), execution.id, status=_end_status(execution))
            return _failed(error, execution, answering)
        response = record_response(_end_status(execution), execution, script)
        return _changed(response, _of_failures(answering.headers))
    if answering.form == NONE:
        # Not even the flow's own answer.
        response = Response(answering.success_status or 204, ((EXECUTION_ID, execution.id.encode("ascii")),))
    elif own is not None:
        response = _own_response(own, execution)
    elif answering.form == OUTPUT:
        headers = (*JSON_HEADERS, (EXECUTION_ID, execution.id.encode("ascii")))
        response = Response(200, headers, bytes(execution.output_json) or b"null")
    else:
        response = record_response(200, execution, script)
    if answering.status is not None:
        response = _sendable(answering.status, response.headers, response.body)
    return _changed(response, answering.headers)


def _failed(error: HttpError, execution: Execution, answering: Answering | None) -> Response:
    response = _changed(problem_response(error), ((EXECUTION_ID, execution.id.encode("ascii")),))
    return response if answering is None else _changed(response, _of_failures(answering.headers))


def _of_failures(headers: Headers) -> Headers:
    # What is said of a success's content, or where it leads, is wrong of a problem.
    return tuple(header for header in headers if not header[0].startswith((b"content-", b"location", b"etag")))


def _sendable(status: int, headers: Headers, body: bytes) -> Response:
    return Response(status, headers, b"" if status in _WITHOUT_CONTENT else body)


def _changed(response: Response, headers: Headers) -> Response:
    return Response(response.status, _replaced(response.headers, headers), response.body) if headers else response


def _replaced(headers: Headers, others: Headers) -> Headers:
    names = {name for name, _value in others}
    return tuple(header for header in headers if header[0].lower() not in names) + others


def first_line(message: str) -> str:
    """The part of an execution's message that has nothing of a source: its first line.

    In a traceback that is the line with the error's name. Those before it are indented (sandbox/tracebacks).
    """
    lines = message.splitlines()
    if lines and lines[0] == _TRACEBACK:
        lines = [line for line in lines[1:] if not line.startswith(" ")]
    line = lines[0] if lines else ""
    return (line if len(line) <= MOST_MESSAGE_CHARS else f"{line[:MOST_MESSAGE_CHARS]}…") or "the flow failed"
