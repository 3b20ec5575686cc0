"""What a sync caller gets once the execution has ended: of the run itself, or of its record. Pure."""

from __future__ import annotations

from typing import Final

from ..errors import Misconfigured
from ..http.messages import Response
from ..model.execution import Cause, Execution, Status
from ..pool.job import FlowResponse
from .context import problem_response, record_response

_STATUS_OF_END: Final = {Status.ENDED_SUCCESS: 200, Status.ENDED_ERROR: 500, Status.ENDED_CANCELLED: 500}
_OUT_OF_TIME: Final = (Cause.TIMEOUT, Cause.CPU)
# RFC 9110, 6.4.1 and 15.3.5, 15.4.5: answers that have no content.
_WITHOUT_CONTENT: Final = (204, 205, 304)


def ended_response(execution: Execution, script: str | None, own: FlowResponse | None) -> Response:
    """The flow's `own` answer, or the record with 200, 500 or 504."""
    if execution.cause is Cause.REFUSED:
        return problem_response(Misconfigured("the webhook is misconfigured", log_detail=execution.message))
    if own is not None and execution.status is Status.ENDED_SUCCESS:
        body = b"" if own.status in _WITHOUT_CONTENT else own.body
        return Response(own.status, own.headers, body)
    status = 504 if execution.cause in _OUT_OF_TIME else _STATUS_OF_END[execution.status]
    return record_response(status, execution, script)
