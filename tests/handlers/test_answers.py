"""What a webhook's caller gets, by its setting: the record, the output or nothing; status, headers, the id."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.handlers.serving import Serving, post
from whd.auth.callers import OPEN
from whd.handlers.answers import MOST_MESSAGE_CHARS, first_line
from whd.http.messages import Head, Headers, Response
from whd.model.answering import EXECUTION, NONE, OUTPUT, Answering
from whd.model.execution import Cause, Status
from whd.pool.job import FlowResponse

TRACEBACK = (
    'Traceback (most recent call last):\n  File "order.py", line 2, in handler\n    raise ValueError(secret_name)\n'
    "ValueError: no such order\nand more"
)
HELLO = FlowResponse(418, ((b"x-tea", b"green"), (b"server", b"flow"), (b"content-type", b"text/plain")), b"hello")


def ended(
    answering: Answering | None,
    status: Status = Status.ENDED_SUCCESS,
    *,
    message: str = "",
    cause: Cause = Cause.NONE,
    own: FlowResponse | None = None,
) -> Response:
    """The answer to a sync call that ended so, with the output {"a": 1}."""
    serving = Serving(OPEN, answering=answering)
    answers = serving.send(post(), b"{}")
    active = serving.runner.started[0]
    active.execution.status, active.execution.message, active.execution.cause = status, message, cause
    active.execution.output_json = b'{"a":1}'
    active.response = own
    active.release_waiters()
    return answers.given[0]


def accepted(answering: Answering | None, head: Head) -> Response:
    serving = Serving(OPEN, answering=answering)
    answers = serving.send(head, b"{}")
    serving.runner.accepted[0](None)
    return answers.given[0]


def fields(response: Response) -> dict[bytes, bytes]:
    assert len(dict(response.headers)) == len(response.headers), "a header is there twice"
    return dict(response.headers)


@pytest.mark.parametrize("form", [None, EXECUTION, OUTPUT, NONE])
@pytest.mark.parametrize("status", [Status.ENDED_SUCCESS, Status.ENDED_ERROR, Status.ENDED_CANCELLED])
@pytest.mark.parametrize("own", [None, HELLO])
def test_every_answer_that_has_an_execution_carries_its_id(
    form: str | None, status: Status, own: FlowResponse | None
) -> None:
    response = ended(None if form is None else Answering(form), status, own=own)
    assert fields(response)[b"whd-execution-id"] == b"e1"


@pytest.mark.parametrize("answering", [None, Answering(), Answering(is_ack=True)])
def test_so_does_that_of_an_accepted_one(answering: Answering | None) -> None:
    response = accepted(answering, post(path="/api/webhook/acme/order?async"))
    assert fields(response)[b"whd-execution-id"] == b"e1"
    assert json.loads(response.body)["id"] == "e1"


def test_so_does_that_of_one_whose_flow_was_refused() -> None:
    assert fields(ended(None, Status.ENDED_ERROR, cause=Cause.REFUSED))[b"whd-execution-id"] == b"e1"


def test_output_is_the_output_alone() -> None:
    response = ended(Answering(OUTPUT))
    assert (response.status, response.body) == (200, b'{"a":1}')
    assert fields(response)[b"content-type"] == b"application/json"


@pytest.mark.parametrize("own", [None, HELLO])
def test_none_is_nothing_at_all_whatever_the_flow_says(own: FlowResponse | None) -> None:
    response = ended(Answering(NONE), own=own)
    assert (response.status, response.body) == (204, b"")
    assert set(fields(response)) == {b"whd-execution-id"}


@pytest.mark.parametrize("form", [OUTPUT, NONE])
@pytest.mark.parametrize(
    ("status", "cause", "wanted"),
    [
        (Status.ENDED_ERROR, Cause.NONE, 500),
        (Status.ENDED_CANCELLED, Cause.NONE, 500),
        (Status.ENDED_ERROR, Cause.TIMEOUT, 504),
    ],
)
def test_a_failure_tells_neither_traceback_nor_source(form: str, status: Status, cause: Cause, wanted: int) -> None:
    response = ended(Answering(form, status=201), status, message=TRACEBACK, cause=cause)
    assert response.status == wanted
    assert fields(response)[b"content-type"] == b"application/problem+json"
    document = json.loads(response.body)
    assert document["code"] == "flow_failed"
    assert document["id"] == "e1"
    assert document["detail"] == "ValueError: no such order"
    assert document["status"] == wanted


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("", "the flow failed"),
        ("no such order\nsecond line", "no such order"),
        (TRACEBACK, "ValueError: no such order"),
        ("Traceback (most recent call last):\n  File", "the flow failed"),
        ("x" * 5_000, "x" * MOST_MESSAGE_CHARS + "…"),
    ],
)
def test_the_first_line_of_a_message(message: str, line: str) -> None:
    assert first_line(message) == line


@pytest.mark.parametrize("form", [EXECUTION, OUTPUT, NONE])
@pytest.mark.parametrize("own", [None, HELLO])
def test_the_operators_status_and_headers_stand_in_the_place_of_the_flows(form: str, own: FlowResponse | None) -> None:
    headers: Headers = ((b"server", b"mine"), (b"x-more", b"a"), (b"x-more", b"b"))
    response = ended(Answering(form, status=203, headers=headers, success_status=203), own=own)
    assert response.status == 203
    assert [pair for pair in response.headers if pair[0] in (b"server", b"x-more")] == list(headers)


def test_what_the_operator_does_not_name_is_the_flows() -> None:
    response = ended(Answering(headers=((b"server", b"mine"),)), own=HELLO)
    assert (response.status, response.body) == (418, b"hello")
    assert fields(response)[b"x-tea"] == b"green"
    assert fields(response)[b"server"] == b"mine"


def test_a_failure_keeps_its_own_type() -> None:
    headers: Headers = ((b"content-type", b"text/xml"), (b"x-more", b"a"))
    response = ended(Answering(NONE, headers=headers), Status.ENDED_ERROR)
    assert fields(response)[b"content-type"] == b"application/problem+json"
    assert fields(response)[b"x-more"] == b"a"


def test_an_ack_never_waits_whatever_the_caller_asks_for() -> None:
    response = accepted(Answering(is_ack=True), post(path="/api/webhook/acme/order?async=0"))
    assert response.status == 202
    assert json.loads(response.body)["status"] == "PENDING"
    assert b"location" in fields(response)


@pytest.mark.parametrize(("status", "body"), [(200, b""), (200, b"[ok]"), (204, b"")])
def test_an_ack_says_what_the_sender_takes_for_success(status: int, body: bytes) -> None:
    answering = Answering(
        is_ack=True, success_status=status, success_headers=((b"content-type", b"a/b"),), success_body=body
    )
    response = accepted(answering, post())
    assert (response.status, response.body) == (status, body)
    assert fields(response)[b"content-type"] == b"a/b"
    assert b"location" not in fields(response)


@pytest.mark.parametrize(
    ("answering", "status"),
    [
        (Answering(is_ack=True), 202),
        (Answering(is_ack=True, success_status=200), 200),
        (Answering(NONE), 204),
        (Answering(NONE, success_status=200), 200),
        (Answering(OUTPUT, status=201, success_status=201), 201),
        (Answering(OUTPUT, success_status=204), 200),
    ],
)
def test_head_is_answered_as_a_success_would_be(answering: Answering, status: int) -> None:
    serving = Serving(OPEN, answering=answering)
    response: Any = serving.send(Head("HEAD", "/api/webhook/acme/order", (), 0)).given[0]
    assert (response.status, serving.runner.started) == (status, [])
