"""Children and other executions: started, waited for, read, cancelled; one's own record saved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.clock import on_virtual_clock, settle
from whd.errors import StateError
from whd.model.execution import Cause, Status
from whd.store import Stored
from whd.wire.strict_json import LARGE_BYTES

from .flows import KEVIN, NOBODY, ROOT, Answer, Flows, RunningFlow, limited

LARGE_JSON = json.dumps(["x"] * LARGE_BYTES).encode()


async def start_child(here: Flows, parent: RunningFlow, flow: str = "mine", **arguments: Any) -> RunningFlow:
    answer = await parent.ask("child.start", {"flow": flow, **arguments})
    assert answer.kind == "", answer
    child = await here.child()
    assert child.execution.id == answer.value["id"]
    return child


# ---- starting children -----------------------------------------------------------------------------------------------


@on_virtual_clock
async def test_a_child_runs_as_its_parents_user_below_it() -> None:
    here = Flows()
    parent = await here.start(KEVIN)
    answer = await parent.ask("child.start", {"flow": "mine.too", "name": "the first"}, b'{"a": 1}')
    child = await here.child()
    execution = child.execution
    assert answer.value == {"id": execution.id}
    assert (execution.user_name, execution.flow_name, execution.name) == ("kevin", "mine.too", "the first")
    assert (execution.parent_id, execution.root_id) == (parent.execution.id, parent.execution.id)
    assert execution.input_json == b'{"a": 1}'
    assert execution.status is Status.RUNNING
    assert (child.job.is_child, child.job.is_first) == (True, True)
    assert child.job.limits is parent.job.limits


@on_virtual_clock
async def test_a_child_without_an_input_gets_null() -> None:
    here = Flows()
    child = await start_child(here, await here.start())
    assert child.execution.input_json == b"null"


@pytest.mark.parametrize(
    ("arguments", "raw", "kind", "text"),
    [
        ({}, b"", "InvalidInputError", "flow must be text, not NoneType"),
        ({"flow": "none"}, b"", "ResourceNotFoundError", "there is no flow 'none'"),
        ({"flow": "mine", "name": 7}, b"", "InvalidInputError", "name must be text, not int"),
        ({"flow": "mine"}, b"{", "InvalidInputError", "the input: the body is not JSON"),
        ({"flow": "mine"}, b"\xff", "InvalidInputError", "the input: 'utf-8' codec"),
        ({"flow": "mine"}, LARGE_JSON[:-1], "InvalidInputError", "the input: the body is not JSON"),
    ],
)
@on_virtual_clock
async def test_what_is_no_child(arguments: dict[str, Any], raw: bytes, kind: str, text: str) -> None:
    here = Flows()
    answer = await (await here.start()).ask("child.start", arguments, raw)
    assert answer.kind == kind
    assert answer.text.startswith(text)
    assert len(here.pool.submitted) == 1
    assert here.budget.used_bytes == 0


@on_virtual_clock
async def test_a_large_input_is_read_elsewhere_and_counts_as_buffered_until_it_is_taken() -> None:
    here = Flows(max_buffered_bytes=3 * len(LARGE_JSON))
    parent = await here.start()
    here.pool.is_held = True
    number = parent.send("child.start", {"flow": "mine"}, LARGE_JSON)
    assert parent.is_parked()
    assert here.budget.used_bytes == len(LARGE_JSON)
    await settle()
    assert here.pool.payload_parser.tasks == 1
    assert parent.answer(number) is not None
    assert here.budget.used_bytes == len(LARGE_JSON), "the child waits, and its input with it"
    here.pool.is_held = False
    here.pool.dispatch()
    assert here.budget.used_bytes == 0


@pytest.mark.parametrize("raw", [b'"small"', LARGE_JSON], ids=["small", "large"])
@on_virtual_clock
async def test_an_input_that_there_is_no_room_for_is_refused(raw: bytes) -> None:
    here = Flows(max_buffered_bytes=2)
    answer = await (await here.start()).ask("child.start", {"flow": "mine"}, raw)
    assert answer == Answer(kind="CloudomationException", text="too many payloads are waiting (max_buffered_bytes)")
    assert here.budget.used_bytes == 0


@on_virtual_clock
async def test_a_large_input_for_what_one_may_not_run_is_not_read() -> None:
    here = Flows()
    answer = await (await here.start(NOBODY)).ask("child.start", {"flow": "mine"}, LARGE_JSON)
    assert answer.kind == "PermissionDenied"
    assert here.pool.payload_parser.tasks == 0


@on_virtual_clock
async def test_who_loses_the_right_while_its_input_is_read_starts_nothing() -> None:
    here = Flows()
    parent = await here.start(KEVIN)
    number = parent.send("child.start", {"flow": "mine"}, LARGE_JSON)
    here.change(NOBODY, ROOT)
    await settle()
    answer = parent.answer(number)
    assert answer is not None
    assert answer.kind == "PermissionDenied"
    assert here.budget.used_bytes == 0


@on_virtual_clock
async def test_a_parent_that_ends_while_its_childs_input_is_read_gets_no_child() -> None:
    here = Flows()
    parent = await here.start()
    parent.send("child.start", {"flow": "mine"}, LARGE_JSON)
    here.runner.cancel(parent.active, "enough")
    await settle()
    assert len(here.pool.submitted) == 1
    assert here.budget.used_bytes == 0


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"max_children": 2}, "max_children: more than 2 child executions below one call"),
        ({"max_depth": 2}, "max_depth: child executions nest deeper than 2"),
    ],
)
@on_virtual_clock
async def test_who_goes_past_a_limit_of_children_is_ended(limits: dict[str, int], text: str) -> None:
    here = Flows()
    here.limits = limited(**limits)
    flow = await here.start()
    for _ in range(2):
        flow = await start_child(here, flow)
    flow.send("child.start", {"flow": "mine"})
    await settle()
    execution = flow.execution
    assert (execution.status, execution.message, execution.cause) == (Status.ENDED_ERROR, text, Cause.LIMIT)
    assert len(here.pool.submitted) == 3


# ---- waiting for children --------------------------------------------------------------------------------------------


async def family(here: Flows, count: int = 3) -> tuple[RunningFlow, list[RunningFlow]]:
    parent = await here.start()
    return parent, [await start_child(here, parent, name=f"child {number}") for number in range(count)]


def wait_for(parent: RunningFlow, children: list[RunningFlow], when: str) -> int:
    ids = [child.execution.id for child in children]
    return parent.send("child.wait", {"ids": ids, "return_when": when})


def told(answer: Answer | None) -> dict[str, str] | None:
    """Of an answer to a wait: the status of each child by its name."""
    return None if answer is None else {child["name"]: child["status"] for child in answer.value.values()}


@pytest.mark.parametrize(
    ("when", "ends", "expected"),
    [
        ("ALL_ENDED", ["ENDED_SUCCESS", "ENDED_ERROR", "ENDED_SUCCESS"], 3),
        ("ALL_SUCCEEDED", ["ENDED_SUCCESS", "ENDED_SUCCESS", "ENDED_SUCCESS"], 3),
        ("ALL_SUCCEEDED", ["ENDED_SUCCESS", "ENDED_ERROR"], 2),
        ("FIRST_ENDED", ["ENDED_ERROR"], 1),
    ],
)
@on_virtual_clock
async def test_a_wait_is_over_when_it_is_decided(when: str, ends: list[str], expected: int) -> None:
    here = Flows()
    parent, children = await family(here)
    number = wait_for(parent, children, when)
    assert parent.is_parked()
    for child, status in zip(children, ends, strict=False):
        assert parent.answer(number) is None
        child.end(Status(status), f"it is {status}")
        await settle()
    answer = told(parent.answer(number))
    assert answer is not None
    assert not parent.is_parked()
    decisive = [f"child {index}" for index in range(expected)]
    if when == "ALL_SUCCEEDED" and "ENDED_ERROR" in ends:
        decisive = ["child 1"]
    assert answer == {name: ends[int(name[-1])] for name in decisive}


@on_virtual_clock
async def test_what_has_ended_is_not_waited_for() -> None:
    here = Flows()
    parent, children = await family(here, 1)
    children[0].end(Status.ENDED_SUCCESS, "done")
    await settle()
    number = wait_for(parent, children, "ALL_ENDED")
    answer = parent.answer(number)
    assert answer == Answer(
        {children[0].execution.id: {"name": "child 0", "status": "ENDED_SUCCESS", "message": "done"}}
    )


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"ids": [], "return_when": "SOON"}, "InvalidInputError", "return_when takes ALL_SUCCEEDED, ALL_ENDED, FIRST"),
        ({"ids": "a", "return_when": "ALL_ENDED"}, "InvalidInputError", "ids must be a list of at most"),
        ({"ids": [1], "return_when": "ALL_ENDED"}, "InvalidInputError", "ids must be a list of at most"),
        (
            {"ids": ["x" * 99], "return_when": "ALL_ENDED"},
            "ResourceNotFoundError",
            f"execution '{'x' * 64}' is no child",
        ),
    ],
)
@on_virtual_clock
async def test_only_children_are_waited_for(arguments: dict[str, Any], kind: str, text: str) -> None:
    here = Flows()
    answer = await (await here.start()).ask("child.wait", arguments)
    assert answer.kind == kind
    assert answer.text.startswith(text)


@on_virtual_clock
async def test_a_parent_takes_along_what_it_waits_for_and_nothing_else() -> None:
    here = Flows()
    parent, children = await family(here)
    wait_for(parent, children[:2], "ALL_ENDED")
    here.runner.cancel(parent.active, "enough")
    assert [child.execution.status for child in children] == [
        Status.ENDED_CANCELLED, Status.ENDED_CANCELLED, Status.RUNNING,
    ]  # fmt: skip
    assert children[0].execution.message == "its parent ended while it waited for it"


@on_virtual_clock
async def test_a_parent_that_does_not_wait_yet_takes_nobody_along() -> None:
    """The order that tests/contract/test_trees.py waits for: who is cancelled before its wait leaves its children."""
    here = Flows()
    parent, children = await family(here, 2)
    here.runner.cancel(parent.active, "enough")
    assert [child.execution.status for child in children] == [Status.RUNNING] * 2


# ---- records ---------------------------------------------------------------------------------------------------------


@on_virtual_clock
async def test_ones_own_record_is_saved_while_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Flows()
    flow = await here.start()
    monkeypatch.setattr("whd.executions.runner.now_ms", lambda: flow.execution.created_ms + 1_000)
    await flow.ask("sleep", {"seconds": 1})
    assert await here.store.get(flow.execution.id) is not None, "as it stood before"
    changes: list[tuple[dict[str, Any], tuple[str, str, bytes]]] = [
        ({"message": "half way"}, ("half way", "", b"{}")),
        ({"name": "the big one"}, ("half way", "the big one", b"{}")),
        ({"output_value": {"n": 1}}, ("half way", "the big one", b'{"n":1}')),
        ({"message": None, "name": None}, ("half way", "the big one", b'{"n":1}')),
        ({"output_value": None}, ("half way", "the big one", b"null")),
    ]
    for arguments, expected in changes:
        assert await flow.ask("execution.save", arguments) == Answer()
        execution = flow.execution
        assert (execution.message, execution.name, execution.output_json) == expected
    await flow.ask("sleep", {"seconds": 1})
    stored = await here.store.get(flow.execution.id)
    assert stored is not None
    assert (stored.execution.message, stored.execution.status) == ("half way", Status.RUNNING)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"message": 7}, "message must be text, not int"),
        ({"name": "x" * 1_001}, "name must be text of at most 1000 characters, not 1001"),
    ],
)
@on_virtual_clock
async def test_what_cannot_be_saved_in_ones_record(arguments: dict[str, Any], text: str) -> None:
    here = Flows()
    flow = await here.start()
    assert await flow.ask("execution.save", arguments) == Answer(kind="InvalidInputError", text=text)
    assert (flow.execution.message, flow.execution.name) == ("", "")


@on_virtual_clock
async def test_a_record_gives_the_fields_that_are_asked_for() -> None:
    here = Flows()
    parent = await here.start()
    child = await start_child(here, parent, name="it")
    await child.ask("execution.save", {"output_value": 1.5})
    asked = {"id": child.execution.id, "fields": ["status", "name", "input_value", "output_value", "flow_name"]}
    expected = {"status": "RUNNING", "name": "it", "input_value": None, "output_value": 1.5, "flow_name": "mine"}
    assert await parent.ask("execution.get", asked) == Answer(expected)
    child.end(Status.ENDED_SUCCESS, "done", output_json=b'{"n": 123456789012345678901234567890}')
    await settle()
    asked["fields"] = ["status", "message", "output_value"]
    answer = await parent.ask("execution.get", asked)
    assert answer.value == {
        "status": "ENDED_SUCCESS", "message": "done", "output_value": {"n": 123456789012345678901234567890},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"fields": ["password"]}, "an execution has no field 'password'; it has: client_name, "),
        ({"fields": "status"}, "fields must be a list of at most"),
        ({"fields": [], "id": 7}, "id must be text, not int"),
    ],
)
@on_virtual_clock
async def test_what_no_record_has(arguments: dict[str, Any], text: str) -> None:
    here = Flows()
    answer = await (await here.start()).ask("execution.get", arguments)
    assert answer.kind == "InvalidInputError"
    assert answer.text.startswith(text)


@pytest.mark.parametrize("name", ["execution.get", "execution.cancel"])
@pytest.mark.parametrize("has_ended", [False, True], ids=["running", "ended"])
@on_virtual_clock
async def test_another_users_execution_is_not_there(name: str, has_ended: bool) -> None:
    here = Flows()
    other = await here.start(ROOT)
    if has_ended:
        other.end()
        await settle()
    flow = await here.start(KEVIN)
    asked = {"id": other.execution.id, "fields": ["status"]}
    assert await flow.ask(name, asked) == Answer(
        kind="ResourceNotFoundError", text=f"there is no execution '{other.execution.id}'"
    )
    assert other.execution.status is (Status.ENDED_SUCCESS if has_ended else Status.RUNNING)


@on_virtual_clock
async def test_an_execution_is_cancelled_once() -> None:
    here = Flows()
    parent = await here.start()
    child = await start_child(here, parent)
    asked = {"id": child.execution.id}
    assert await parent.ask("execution.cancel", asked) == Answer()
    assert child.execution.status is Status.ENDED_CANCELLED
    assert child.execution.message == f"cancelled by execution {parent.execution.id}"
    assert await parent.ask("execution.cancel", asked) == Answer(), "it has ended: harmless"


@on_virtual_clock
async def test_who_cancels_itself_is_over_and_gets_no_answer() -> None:
    here = Flows()
    flow = await here.start()
    flow.send("execution.cancel", {"id": flow.execution.id})
    await settle()
    assert flow.execution.status is Status.ENDED_CANCELLED
    assert not here.pool.answers


@pytest.mark.parametrize("name", ["execution.get", "execution.cancel"])
@on_virtual_clock
async def test_a_store_that_cannot_be_read_is_an_error_without_the_files_name(name: str) -> None:
    here = Flows()

    async def get(execution_id: str) -> Stored | None:
        raise StateError("the execution store cannot be read", log_detail="state/executions.sqlite: I/O error")

    flow = await here.start()
    here.store.get = get  # type: ignore[method-assign]  # a store whose disk fails
    answer = await flow.ask(name, {"id": "0198", "fields": ["status"]})
    assert answer == Answer(kind="CloudomationException", text="the execution store cannot be read")


# ---- flows -----------------------------------------------------------------------------------------------------------


@on_virtual_clock
async def test_flows_are_those_that_one_may_run() -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    assert await flow.ask("flow.list") == Answer(["mine", "mine.too"])
    assert await flow.ask("flow.exists", {"name": "mine"}) == Answer(True)
    assert await flow.ask("flow.exists", {"name": "mine.none"}) == Answer(False)
    assert await flow.ask("flow.exists", {"name": "other"}) == Answer(
        kind="PermissionDenied", text="user kevin may not run the flow other"
    )
