"""Each fake has the methods that it stands in for, with the same arguments; and the clock keeps its word."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from whd.pool.compiler import Compiler
from whd.pool.payload_parser import PayloadParser
from whd.pool.pool import Pool
from whd.rest import RestCall, RestClient
from whd.saved import SavedRecords

from .clock import NothingToWaitFor, VirtualClockLoop, on_virtual_clock, settle
from .pool import FakeCompiler, FakePayloadParser, FakePool
from .rest import FakeRestCall, FakeRestClient
from .saved import FakeSaved

# A protocol's every method is there; of a class, those that the fake has of it.
MODELS: list[tuple[type, type, set[str]]] = [
    (FakePool, Pool, {"submit", "answer", "cancel", "dispatch", "withdraw"}),
    (FakeCompiler, Compiler, {"known", "compile", "keep"}),
    (FakePayloadParser, PayloadParser, {"parse", "check"}),
    (FakeRestClient, RestClient, {"start"}),
    (FakeRestCall, RestCall, {"cancel"}),
    (FakeSaved, SavedRecords, {name for name in vars(SavedRecords) if not name.startswith("_")}),
]


@pytest.mark.parametrize(("fake", "model", "names"), MODELS, ids=[fake.__name__ for fake, _, _ in MODELS])
def test_a_fake_takes_what_its_model_takes(fake: type, model: type, names: set[str]) -> None:
    def parameters(owner: type, name: str) -> list[tuple[str, object, object]]:
        signature = inspect.signature(getattr(owner, name))
        return [(each.name, each.kind, each.default) for each in signature.parameters.values()]

    for name in names:
        assert parameters(fake, name) == parameters(model, name), name
        assert inspect.iscoroutinefunction(getattr(fake, name)) == inspect.iscoroutinefunction(getattr(model, name))


@on_virtual_clock
async def test_timers_go_off_in_their_order_and_no_time_passes() -> None:
    loop = asyncio.get_running_loop()
    rang: list[float] = []
    for delay in (3600.0, 0.5, 60.0):
        loop.call_later(delay, lambda: rang.append(round(loop.time(), 3)))
    await asyncio.sleep(3601)
    assert rang == [0.5, 60.0, 3600.0]


@on_virtual_clock
async def test_all_that_is_ready_happens_before_the_clock_goes_on() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def count(left: int) -> None:
        seen.append(left)
        if left:
            loop.call_soon(count, left - 1)

    loop.call_later(1.0, seen.append, -1)
    count(100)
    await settle()
    assert seen == list(range(100, -1, -1))


def test_who_waits_for_nothing_fails_at_once() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    loop = VirtualClockLoop()
    waiting = loop.create_task(wait())
    with pytest.raises(NothingToWaitFor):
        loop.run_until_complete(waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waiting)
    loop.close()
