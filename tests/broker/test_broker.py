"""How a call is decided, done and answered, whatever it asks for."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.clock import on_virtual_clock, settle
from whd.broker.broker import HELD_FROM_BYTES, MAX_LOGGED_REFUSALS
from whd.broker.call import FlowCall
from whd.model.execution import Status

from .flows import FLOWS, KEVIN, NOBODY, ROOT, SETTINGS, Answer, Flows

# Every call with arguments that it takes from who may.
CALLS: dict[str, dict[str, Any]] = {
    "sleep": {"seconds": 0.1},
    "setting.get": {"name": "app.greeting"},
    "setting.exists": {"name": "app.greeting"},
    "setting.times": {"name": "app.greeting"},
    "setting.list": {},
    "setting.save": {"name": "app.log", "value": 1},
    "setting.delete": {"name": "app.log"},
    "setting.list_append": {"name": "app.log", "item": 1},
    "setting.acquire": {"name": "app.log", "timeout": None},
    "setting.release": {"name": "app.log"},
    "file.get": {"name": "in/a"},
    "file.exists": {"name": "in/a"},
    "file.times": {"name": "in/a"},
    "file.list": {},
    "file.save": {"name": "out/a", "is_text": True},
    "file.delete": {"name": "out/a"},
    "child.start": {"flow": "mine"},
    "child.wait": {"ids": [], "return_when": "ALL_ENDED"},
    "execution.get": {"id": "none", "fields": ["status"]},
    "execution.cancel": {"id": "none"},
    "execution.save": {"message": "half way"},
    "flow.exists": {"name": "mine"},
    "flow.times": {"name": "mine"},
    "flow.list": {},
    "task.start": {"connector": "REST", "inputs": {"url": "https://api.test/kevin/a"}},
}
# What is about a record of a name, and refused to who has no right to it; the others need none, or leave out what one
# may not see.
GUARDED = [
    name
    for name in CALLS
    if name.startswith(("setting.", "file.", "flow.exists", "flow.times", "child.start", "task."))
    and not name.endswith(".list")
]


@on_virtual_clock
async def test_these_are_all_calls() -> None:
    here = Flows()
    assert set(here.broker._handlers) == set(CALLS), "a call without a test of what every call must do"


@pytest.mark.parametrize("name", CALLS)
@on_virtual_clock
async def test_every_call_is_answered_once(name: str) -> None:
    here = Flows()
    flow = await here.start()
    answer = await flow.ask(name, CALLS[name])
    assert answer.kind in ("", "ResourceNotFoundError"), answer
    assert [one.call for one in here.pool.answers] == [1]
    assert not flow.is_parked(), "it goes on"


@pytest.mark.parametrize("name", GUARDED)
@on_virtual_clock
async def test_who_has_no_right_is_refused_by_name(name: str) -> None:
    here = Flows()
    flow = await here.start(NOBODY)
    answer = await flow.ask(name, CALLS[name])
    assert answer.kind == "PermissionDenied"
    assert "nobody may not" in answer.text
    assert here.broker.refused_total == 1
    assert not here.saved.savers
    assert not here.rest.calls
    assert len(here.pool.submitted) == 1, "no child was started"


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("arguments", [[], "name", 1, ["name"]])
@on_virtual_clock
async def test_arguments_that_are_no_object_are_refused(name: str, arguments: Any) -> None:
    here = Flows()
    flow = await here.start()
    assert await flow.ask(name, arguments) == Answer(
        kind="InvalidInputError", text=f"{name}: the arguments are not an object"
    )


NAMED = [name for name, arguments in CALLS.items() if "name" in arguments]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "name must be text, not NoneType"),
        (7, "name must be text, not int"),
        (["a"], "name must be text, not list"),
        ("a" * 1_001, "name must be text of at most 1000 characters, not 1001"),
        ("a\ud800", "name has a half of a surrogate pair, which is no text"),
    ],
)
@on_virtual_clock
async def test_a_name_is_text_of_some_length(name: str, value: Any, text: str) -> None:
    here = Flows()
    flow = await here.start()
    answer = await flow.ask(name, {**CALLS[name], "name": value})
    assert (answer.kind, answer.text) == ("InvalidInputError", text)


@on_virtual_clock
async def test_what_there_is_no_call_for() -> None:
    here = Flows()
    flow = await here.start()
    answer = await flow.ask("system.reboot", {})
    assert answer == Answer(kind="CloudomationException", text="system.reboot is not available in this version of whd")


@on_virtual_clock
async def test_a_user_that_is_removed_may_do_nothing_any_more() -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    here.change(ROOT)
    for name in ("setting.get", "flow.list", "file.list"):
        answer = await flow.ask(name, CALLS[name])
        assert answer.kind == "PermissionDenied"
        assert answer.text == f"user kevin does not exist any more, so {name} is refused"


@on_virtual_clock
async def test_rights_are_those_of_now() -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    assert (await flow.ask("setting.get", {"name": "app.greeting"})).value == "hello"
    here.change(replace(KEVIN, settings_read=()))
    assert (await flow.ask("setting.get", {"name": "app.greeting"})).kind == "PermissionDenied"
    here.change(KEVIN, settings={**SETTINGS, "app.greeting": "good day"}, flows=FLOWS)
    assert (await flow.ask("setting.get", {"name": "app.greeting"})).value == "good day"


@on_virtual_clock
async def test_of_many_refusals_all_are_counted_and_some_logged(caplog: pytest.LogCaptureFixture) -> None:
    here = Flows()
    flow = await here.start(NOBODY)
    for _ in range(MAX_LOGGED_REFUSALS + 5):
        await flow.ask("setting.get", {"name": "secret"})
    assert here.broker.refused_total == MAX_LOGGED_REFUSALS + 5
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == [f"acme: execution {flow.execution.id}: user nobody may not read the setting secret"] * len(lines)
    assert len(lines) == MAX_LOGGED_REFUSALS


@on_virtual_clock
async def test_a_defect_of_ours_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    here = Flows()

    def broken(_call: FlowCall) -> bytes:
        raise ZeroDivisionError

    here.broker.add({"setting.get": broken})
    flow = await here.start()
    answer = await flow.ask("setting.get", {})
    assert answer == Answer(kind="CloudomationException", text="setting.get: internal error; the daemon's log has more")
    assert "ZeroDivisionError" in caplog.text


# ---- large answers ---------------------------------------------------------------------------------------------------

LARGE = "x" * (HELD_FROM_BYTES + 1)


@on_virtual_clock
async def test_a_large_answer_counts_as_buffered_until_the_flow_asks_again() -> None:
    here = Flows()
    here.change(ROOT, settings={"large": LARGE, "small": 1})
    flow = await here.start()
    await flow.ask("setting.get", {"name": "small"})
    assert here.budget.used_bytes == 0
    await flow.ask("setting.get", {"name": "large"})
    assert here.budget.used_bytes == len(LARGE) + len('""')
    await flow.ask("setting.get", {"name": "small"})
    assert here.budget.used_bytes == 0, "who asks has taken the answer before"


@on_virtual_clock
async def test_a_large_answer_counts_as_buffered_until_the_flow_is_over() -> None:
    here = Flows()
    here.change(ROOT, settings={"large": LARGE})
    flow = await here.start()
    await flow.ask("setting.get", {"name": "large"})
    flow.end()
    assert here.budget.used_bytes == 0


@on_virtual_clock
async def test_a_large_answer_that_there_is_no_room_for_is_refused() -> None:
    here = Flows(max_buffered_bytes=HELD_FROM_BYTES)
    here.change(ROOT, settings={"large": LARGE})
    flow = await here.start()
    answer = await flow.ask("setting.get", {"name": "large"})
    assert answer.kind == "CloudomationException"
    assert "too many large answers at once (max_buffered_bytes)" in answer.text
    assert here.budget.used_bytes == 0


@on_virtual_clock
async def test_a_large_answer_to_who_has_gone_is_not_held() -> None:
    here = Flows()
    await_file = b"x" * (HELD_FROM_BYTES + 1)
    flow = await here.start()
    await flow.ask("file.save", {"name": "in/large"}, await_file)
    flow.send("file.get", {"name": "in/large"})
    here.runner.cancel(flow.active, "enough")
    await settle()
    assert here.budget.used_bytes == 0
    assert len(here.pool.answers) == 1


# ---- sleep -----------------------------------------------------------------------------------------------------------


@on_virtual_clock
async def test_sleep_parks_the_flow_for_as_long_as_it_says() -> None:
    here = Flows()
    flow = await here.start()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    number = flow.send("sleep", {"seconds": 3600})
    assert flow.is_parked()
    await settle()
    assert flow.answer(number) is None
    await here.pool.wait_answer()
    assert flow.answer(number) == Answer()
    assert loop.time() - begun == pytest.approx(3600, abs=0.01)


@on_virtual_clock
async def test_sleep_until_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    here = Flows()
    flow = await here.start()
    loop = asyncio.get_running_loop()
    for until, took_s in ((1_000_060, 60.0), (999_999, 0.0), (1_000_000, 0.0)):
        begun = loop.time()
        assert await flow.ask("sleep", {"until": until, "seconds": 5}) == Answer()
        assert loop.time() - begun == pytest.approx(took_s, abs=0.01)


@pytest.mark.parametrize("seconds", [0, -5, -1e300])
@on_virtual_clock
async def test_a_sleep_of_no_length_goes_on_at_once(seconds: float) -> None:
    here = Flows()
    flow = await here.start()
    begun = asyncio.get_running_loop().time()
    assert await flow.ask("sleep", {"seconds": seconds}) == Answer()
    assert asyncio.get_running_loop().time() - begun < 0.01


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({}, "MissingInputError", "sleep needs seconds"),
        ({"seconds": None}, "MissingInputError", "sleep needs seconds"),
        ({"seconds": "5"}, "InvalidInputError", "seconds must be a number, not str"),
        ({"seconds": True}, "InvalidInputError", "seconds must be a number, not bool"),
        ({"until": "noon"}, "InvalidInputError", "until must be a number, not str"),
    ],
)
@on_virtual_clock
async def test_sleep_takes_a_number(arguments: dict[str, Any], kind: str, text: str) -> None:
    here = Flows()
    flow = await here.start()
    assert await flow.ask("sleep", arguments) == Answer(kind=kind, text=text)


@on_virtual_clock
async def test_who_is_ended_while_it_sleeps_is_forgotten() -> None:
    here = Flows()
    flow = await here.start()
    flow.send("sleep", {"seconds": 100})
    timer = here.broker._timers[flow.job]
    here.runner.cancel(flow.active, "enough")
    assert flow.execution.status is Status.ENDED_CANCELLED
    assert timer.cancelled()
    await asyncio.sleep(200)
    assert not here.pool.answers
