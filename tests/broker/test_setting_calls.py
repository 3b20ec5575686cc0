"""system.setting(name) and what hangs on it: rights, answers, and locks that go with their holder."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.clock import on_virtual_clock, settle
from whd.model.execution import Status

from .flows import KEVIN, ROOT, Answer, Flows


@on_virtual_clock
async def test_a_setting_is_read_by_who_may() -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    assert await flow.ask("setting.get", {"name": "app.greeting"}) == Answer("hello")
    assert await flow.ask("setting.exists", {"name": "app.greeting"}) == Answer(True)
    assert await flow.ask("setting.exists", {"name": "app.none"}) == Answer(False)
    assert await flow.ask("setting.get", {"name": "app.none"}) == Answer(
        kind="ResourceNotFoundError", text="there is no setting 'app.none'"
    )
    for name in ("setting.get", "setting.exists"):
        answer = await flow.ask(name, {"name": "secret"})
        assert answer == Answer(kind="PermissionDenied", text="user kevin may not read the setting secret")


@on_virtual_clock
async def test_a_list_has_what_one_may_read() -> None:
    here = Flows()
    assert (await (await here.start(KEVIN)).ask("setting.list")).value == ["app.greeting", "app.log"]
    assert (await (await here.start(ROOT)).ask("setting.list")).value == ["app.greeting", "app.log", "secret"]


@on_virtual_clock
async def test_what_is_saved_is_saved_by_ones_user() -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    assert await flow.ask("setting.save", {"name": "app.log", "value": [{"a": None}]}) == Answer()
    assert await flow.ask("setting.list_append", {"name": "app.log", "item": 2}) == Answer()
    assert here.saved.settings == {("acme", "app.log"): [{"a": None}, 2]}
    assert here.saved.savers == ["kevin", "kevin"]
    assert await flow.ask("setting.delete", {"name": "app.log"}) == Answer()
    assert here.saved.settings == {}


@pytest.mark.parametrize("name", ["setting.save", "setting.delete", "setting.list_append", "setting.acquire"])
@on_virtual_clock
async def test_who_may_read_may_not_write(name: str) -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    answer = await flow.ask(name, {"name": "app.greeting", "value": 1, "item": 1, "timeout": 1})
    assert answer == Answer(kind="PermissionDenied", text="user kevin may not write the setting app.greeting")
    assert not here.saved.savers


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("setting.save", {"name": "", "value": 1}, "InvalidInputError"),
        ("setting.delete", {"name": "app.none"}, "ResourceNotFoundError"),
        ("setting.list_append", {"name": "app.none", "item": 1}, "ResourceNotFoundError"),
    ],
)
@on_virtual_clock
async def test_what_cannot_be_saved_says_why(name: str, arguments: dict[str, Any], kind: str) -> None:
    here = Flows()
    assert (await (await here.start()).ask(name, arguments)).kind == kind


@on_virtual_clock
async def test_a_disk_that_fails_is_an_error_without_the_files_name() -> None:
    here = Flows()
    here.saved.fault = "state/saved.sqlite: disk full"
    flow = await here.start()
    answer = await flow.ask("setting.save", {"name": "app.log", "value": 1})
    assert answer == Answer(kind="CloudomationException", text="what flows save cannot be kept")


@on_virtual_clock
async def test_what_was_saved_by_who_ended_is_answered_to_nobody() -> None:
    here = Flows()
    flow = await here.start()
    flow.send("setting.save", {"name": "app.log", "value": 1})
    here.runner.cancel(flow.active, "enough")
    await settle()
    assert here.saved.settings == {("acme", "app.log"): 1}, "it is saved all the same"
    assert not here.pool.answers


# ---- locks -----------------------------------------------------------------------------------------------------------


@on_virtual_clock
async def test_a_lock_is_had_in_turn() -> None:
    here = Flows()
    first, second = await here.start(), await here.start()
    assert await first.ask("setting.acquire", {"name": "app.log"}) == Answer()
    waiting = second.send("setting.acquire", {"name": "app.log"})
    await settle()
    assert second.answer(waiting) is None
    assert await first.ask("setting.release", {"name": "app.log"}) == Answer()
    assert second.answer(waiting) == Answer()


@on_virtual_clock
async def test_a_lock_falls_free_with_its_holder() -> None:
    here = Flows()
    first, second = await here.start(), await here.start()
    await first.ask("setting.acquire", {"name": "app.log"})
    waiting = second.send("setting.acquire", {"name": "app.log"})
    first.end(Status.ENDED_ERROR, "it forgot to release")
    assert second.answer(waiting) == Answer()
    second.end()
    assert here.locks.held == 0


@on_virtual_clock
async def test_who_ends_while_it_waits_for_a_lock_does_not_get_it() -> None:
    here = Flows()
    first, second, third = [await here.start() for _ in range(3)]
    await first.ask("setting.acquire", {"name": "app.log"})
    second.send("setting.acquire", {"name": "app.log"})
    waiting = third.send("setting.acquire", {"name": "app.log"})
    here.runner.cancel(second.active, "enough")
    await first.ask("setting.release", {"name": "app.log"})
    assert third.answer(waiting) == Answer()


@pytest.mark.parametrize("timeout", [0, 5, 60.5])
@on_virtual_clock
async def test_who_waits_too_long_for_a_lock_hears_of_it(timeout: float) -> None:
    here = Flows()
    first, second = await here.start(), await here.start()
    await first.ask("setting.acquire", {"name": "app.log"})
    begun = asyncio.get_running_loop().time()
    answer = await second.ask("setting.acquire", {"name": "app.log", "timeout": timeout})
    assert answer == Answer(
        kind="TimeoutExceededError", text=f"the lock 'app.log' could not be acquired within {timeout:g} s"
    )
    assert asyncio.get_running_loop().time() - begun == pytest.approx(timeout, abs=0.01)


@on_virtual_clock
async def test_to_release_what_one_does_not_hold_is_harmless() -> None:
    here = Flows()
    first, second = await here.start(), await here.start()
    await first.ask("setting.acquire", {"name": "app.log"})
    assert await second.ask("setting.release", {"name": "app.log"}) == Answer()
    assert here.locks.holder("acme", "app.log") is first.job
