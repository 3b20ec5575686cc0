"""this.task('REST') and this.connect: a child execution that is no flow, from its inputs to its output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.clock import on_virtual_clock, settle
from whd.auth.permissions import PermissionDenied
from whd.auth.urls import BadUrl
from whd.broker.rest import MAX_BODY_BYTES
from whd.executions.active import ActiveExecution
from whd.model.execution import Status
from whd.rest import RestError, RestFault
from whd.wire.strict_json import LARGE_BYTES

from .flows import KEVIN, NOBODY, Answer, Flows, RunningFlow, limited

URL = "https://api.test/kevin/a"


async def start_task(here: Flows, flow: RunningFlow, **inputs: Any) -> ActiveExecution:
    answer = await flow.ask("task.start", {"connector": "REST", "inputs": {"url": URL, **inputs}, "name": "it"})
    assert answer.kind == "", answer
    task = here.runner.find_active(answer.value["id"])
    assert task is not None
    return task


@on_virtual_clock
async def test_a_task_is_a_child_that_runs_at_once() -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    task = await start_task(here, flow, method="post", json={"a": 1})
    execution = task.execution
    assert (execution.kind, execution.flow_name, execution.name) == ("TASK", "REST", "it")
    assert (execution.parent_id, execution.user_name) == (flow.execution.id, "kevin")
    assert execution.status is Status.RUNNING
    assert json.loads(execution.input_json)["url"] == URL
    assert (here.call.request.method, here.call.request.url, here.call.request.body) == ("POST", URL, b'{"a":1}')
    assert len(here.pool.submitted) == 1, "no process runs it"


@on_virtual_clock
async def test_a_record_shows_no_credentials() -> None:
    here = Flows()
    inputs = {"auth": ["kevin", "s3cr3t"], "cookies": {"session": "s3cr3t"}}
    task = await start_task(here, await here.start(KEVIN), **inputs)
    assert json.loads(task.execution.input_json) == {
        "url": URL,
        "auth": ["kevin", "***"],
        "cookies": {"session": "***"},
    }
    assert dict(here.call.request.headers)["Cookie"] == "session=s3cr3t"


@on_virtual_clock
async def test_params_are_part_of_the_url_that_is_decided_upon() -> None:
    here = Flows()
    await start_task(here, await here.start(KEVIN), params={"q": "a b"})
    assert here.call.request.url == f"{URL}?q=a%20b"
    flow = await here.start(KEVIN)
    inputs = {"url": "https://api.test/elsewhere", "params": {"x": "/kevin/a"}}
    assert (await flow.ask("task.start", {"connector": "REST", "inputs": inputs})).kind == "PermissionDenied"


@on_virtual_clock
async def test_the_text_beside_json_goes_where_the_output_would_be_too_large() -> None:
    here = Flows()
    here.limits = limited(max_output_bytes=250)
    task = await start_task(here, await here.start())
    here.call.respond(200, b'["' + b"x" * 90 + b'"]')
    assert task.execution.status is Status.ENDED_SUCCESS
    assert json.loads(task.execution.output_json).keys() == {"status_code", "headers", "cookies", "encoding", "json"}


@on_virtual_clock
async def test_what_came_is_the_childs_output_and_its_parent_hears_of_it() -> None:
    here = Flows()
    flow = await here.start()
    task = await start_task(here, flow)
    number = flow.send("child.wait", {"ids": [task.execution.id], "return_when": "ALL_SUCCEEDED"})
    here.call.respond(200, b'{"a": [1]}')
    assert task.execution.status is Status.ENDED_SUCCESS
    output = json.loads(task.execution.output_json)
    assert (output["status_code"], output["json"]) == (200, {"a": [1]})
    answer = flow.answer(number)
    assert answer is not None
    assert answer.value[task.execution.id]["status"] == "ENDED_SUCCESS"


@on_virtual_clock
async def test_a_status_that_was_not_expected_is_an_error_with_the_answer() -> None:
    here = Flows()
    task = await start_task(here, await here.start())
    here.call.respond(500, b'"no"')
    assert task.execution.status is Status.ENDED_ERROR
    assert "status 500 was not expected" in task.execution.message
    assert json.loads(task.execution.output_json)["json"] == "no"


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"connector": "SSH", "inputs": {}}, "InvalidInputError", "there is no task type 'SSH'; available: REST"),
        ({"connector": "REST", "inputs": [1]}, "InvalidInputError", "inputs must be a dict, not list"),
        ({"connector": "REST"}, "MissingInputError", "url"),
        ({"connector": "REST", "inputs": {"url": URL, "nonsense": 1}}, "InvalidInputError", "nonsense"),
        ({"connector": "REST", "inputs": {"url": "https://api.test:99999/kevin/"}}, "InvalidInputError", "port"),
        ({"connector": "REST", "inputs": {"url": URL}, "name": 7}, "InvalidInputError", "name must be text, not int"),
    ],
)
@on_virtual_clock
async def test_what_is_no_task(arguments: dict[str, Any], kind: str, text: str) -> None:
    here = Flows()
    answer = await (await here.start()).ask("task.start", arguments)
    assert answer.kind == kind
    assert text in answer.text
    assert not here.rest.calls


@on_virtual_clock
async def test_a_url_that_no_rule_allows_is_refused() -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    inputs = {"url": "https://api.test/other?token=s3cr3t"}
    answer = await flow.ask("task.start", {"connector": "REST", "inputs": inputs})
    assert answer == Answer(kind="PermissionDenied", text="user kevin may not connect to https://api.test/other")
    assert here.broker.refused_total == 1
    assert not here.rest.calls


@on_virtual_clock
async def test_rights_are_asked_for_anew_at_each_redirect() -> None:
    here = Flows()
    task = await start_task(here, await here.start(KEVIN))
    assert here.call.authorize(URL).host == "api.test"
    with pytest.raises(PermissionDenied):
        here.call.authorize("https://elsewhere.test/")
    here.change(NOBODY)
    with pytest.raises(Exception, match="kevin does not exist any more"):
        here.call.authorize(URL)
    assert task.execution.status is Status.RUNNING


@pytest.mark.parametrize(
    ("outcome", "message", "refused"),
    [
        (RestError(RestFault.TIMEOUT, "GET api.test: timed out"), "GET api.test: timed out", 0),
        (BadUrl("the redirect leads nowhere"), "the redirect leads nowhere", 0),
        (
            RestError(RestFault.ADDRESS_REFUSED, "GET api.test, which is 10.0.0.1"),
            "PermissionDenied: user root may not connect to api.test, which is 10.0.0.1",
            1,
        ),
    ],
)
@on_virtual_clock
async def test_a_call_that_comes_to_nothing_says_why(outcome: Any, message: str, refused: int) -> None:
    here = Flows()
    task = await start_task(here, await here.start())
    here.call.finish(outcome)
    assert (task.execution.status, task.execution.message) == (Status.ENDED_ERROR, message)
    assert here.broker.refused_total == refused


@on_virtual_clock
async def test_a_task_has_its_parents_limits() -> None:
    here = Flows()
    here.limits = limited(timeout_s=7.5, max_output_bytes=100)
    task = await start_task(here, await here.start())
    assert (here.call.limits.timeout_s, here.call.limits.max_body_bytes) == (7.5, 100)
    here.call.respond(200, b'"' + b"x" * 90 + b'"')
    assert task.execution.status is Status.ENDED_ERROR
    assert task.execution.message.startswith("max_output_bytes: the answer is ")
    assert task.execution.output_json == b"{}"
    here.limits = limited(max_output_bytes=10**9)
    await start_task(here, await here.start())
    assert here.call.limits.max_body_bytes == MAX_BODY_BYTES


@pytest.mark.parametrize("is_json", [True, False])
@on_virtual_clock
async def test_a_large_answer_is_read_elsewhere(is_json: bool) -> None:
    here = Flows()
    task = await start_task(here, await here.start())
    body = json.dumps(["x"] * LARGE_BYTES).encode()
    here.call.respond(200, body if is_json else body[:-1])
    statuses = [task.execution.status]
    await settle()
    assert here.pool.payload_parser.tasks == 1
    assert [*statuses, task.execution.status] == [Status.RUNNING, Status.ENDED_SUCCESS]
    output = json.loads(task.execution.output_json)
    assert ("json" in output) == is_json
    assert output["json"][-1] == "x" if is_json else output["text"] == body[:-1].decode()


@on_virtual_clock
async def test_a_task_that_is_cancelled_is_let_go_of() -> None:
    here = Flows()
    flow = await here.start()
    task = await start_task(here, flow)
    assert await flow.ask("execution.cancel", {"id": task.execution.id}) == Answer()
    assert task.execution.status is Status.ENDED_CANCELLED
    assert here.call.is_cancelled


@on_virtual_clock
async def test_what_its_parent_waits_for_is_let_go_of_with_it() -> None:
    here = Flows()
    flow = await here.start()
    task = await start_task(here, flow)
    flow.send("child.wait", {"ids": [task.execution.id], "return_when": "ALL_ENDED"})
    here.runner.cancel(flow.active, "enough")
    assert here.call.is_cancelled
    assert task.execution.status is Status.ENDED_CANCELLED


@on_virtual_clock
async def test_an_answer_that_comes_after_its_cancelling_changes_nothing() -> None:
    here = Flows()
    task = await start_task(here, await here.start())
    here.runner.cancel(task, "enough")
    here.call.done(RestError(RestFault.TIMEOUT, "late"))
    assert (task.execution.status, task.execution.message) == (Status.ENDED_CANCELLED, "enough")
