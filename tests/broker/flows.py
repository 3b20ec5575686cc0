"""The broker with all its calls and a runner, wired as the engine does it; processes, disk and network are fakes.

A test starts a flow, has it ask for something, and looks at the answer:

    here = Flows()
    flow = await here.start()
    assert (await flow.ask("setting.get", {"name": "app.greeting"})).value == "hello"
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from tests.fakes.clock import settle
from tests.fakes.pool import FakePool, PoolAnswer
from tests.fakes.rest import FakeRestCall, FakeRestClient
from tests.fakes.saved import FakeSaved
from whd.broker import Broker
from whd.broker.executions import ExecutionCalls
from whd.broker.files import FileCalls
from whd.broker.locks import Locks
from whd.broker.rest import RestCalls
from whd.broker.settings import SettingCalls
from whd.executions.active import ActiveExecution
from whd.executions.lookup import Lookup
from whd.executions.queue import LocalQueue
from whd.executions.runner import Runner
from whd.model.budget import BufferBudget
from whd.model.execution import Execution
from whd.model.options import Limits, Options
from whd.model.snapshot import Client, Flow, Setting, Snapshot, User
from whd.pool.job import Job, JobState
from whd.store.memory import MemoryStore

if TYPE_CHECKING:
    from whd.pool.payload_parser import PayloadParser
    from whd.pool.pool import Pool
    from whd.rest import RestClient

ROOT = User(
    "root",
    flows=("*",),
    settings_read=("*", "client.webhook.*"),
    settings_write=("*",),
    files_read=("*",),
    files_write=("*",),
    connections={"REST": ("https://api.test/*",)},
)
# Some of everything.
KEVIN = User(
    "kevin",
    flows=("mine*",),
    settings_read=("app.*",),
    settings_write=("app.log",),
    files_read=("in/*",),
    files_write=("out/*",),
    connections={"REST": ("https://api.test/kevin/*",)},
)
# Nothing at all.
NOBODY = User("nobody")
SETTINGS: Mapping[str, Any] = {"app.greeting": "hello", "app.log": [1], "secret": "s3cr3t"}
FLOWS = ("main", "mine", "mine.too", "other")


@dataclass(frozen=True)
class Answer:
    """What a call gave: `value`, and `raw` bytes; or an error of this `kind` with this `text`."""

    value: Any = None
    raw: bytes = b""
    kind: str = ""
    text: str = ""


class RunningFlow:
    """A flow that runs; the test is its script."""

    def __init__(self, here: Flows, active: ActiveExecution) -> None:
        self._here = here
        self.active = active

    @property
    def execution(self) -> Execution:
        return self.active.execution

    @property
    def job(self) -> Job:
        assert self.active.job is not None
        return self.active.job

    def is_parked(self) -> bool:
        """Whether it waits for an answer."""
        return self.job.state is JobState.PARKED

    async def ask(self, name: str, arguments: Any = None, raw: bytes = b"") -> Answer:
        """Makes a call and waits, as long as it takes, for the answer."""
        number = self.send(name, arguments, raw)
        while (answer := self.answer(number)) is None:
            await self._here.pool.wait_answer()
        return answer

    def send(self, name: str, arguments: Any = None, raw: bytes = b"") -> int:
        """Makes a call; its number."""
        return self._here.pool.call(self.job, name, {} if arguments is None else arguments, raw)

    def answer(self, number: int) -> Answer | None:
        """The answer to a call, None while there is none."""
        found = [one for one in self._here.pool.answers if one.job is self.job and one.call == number]
        assert len(found) < 2, "a call was answered twice"
        return _read(found[0]) if found else None

    def end(self, *args: Any, **kwargs: Any) -> None:
        """The flow is over."""
        self._here.pool.end(self.job, *args, **kwargs)


def _read(answer: PoolAnswer) -> Answer:
    if answer.error is not None:
        return Answer(kind=answer.error[0], text=answer.error[1])
    return Answer(json.loads(answer.value), answer.raw)


class Flows:
    """Everything behind the broker, on the running loop. `limits`: of every flow that starts from now on."""

    def __init__(self, *, max_buffered_bytes: int = 10_000_000) -> None:
        loop = asyncio.get_running_loop()
        self.limits: Limits = Options()
        self.snapshot = snapshot_of(ROOT, KEVIN, NOBODY)
        self.budget = BufferBudget(lambda: max_buffered_bytes)
        self.pool = FakePool(loop)
        self.store = MemoryStore(loop)
        self.saved = FakeSaved(loop)
        self.rest = FakeRestClient()
        pool = cast("Pool", self.pool)
        parser = cast("PayloadParser", self.pool.payload_parser)
        self.broker = broker = Broker(loop, lambda: self.snapshot, pool, self.budget)
        self.locks = Locks(loop.call_later)
        settings = SettingCalls(broker, self.saved, self.locks)
        broker.on_forget.append(settings.forget)
        broker.add(settings.table)
        broker.add(FileCalls(broker, self.saved).table)
        self.runner = Runner(loop, pool, self.store, LocalQueue(self.store.unfinished), broker, self.budget)
        lookup = Lookup(self.runner, self.store, None)
        executions = ExecutionCalls(broker, self.runner, lookup, parser, self.budget)
        broker.add(executions.table)
        broker.add(RestCalls(broker, executions, self.runner, cast("RestClient", self.rest), parser).table)

    async def start(self, user: User = ROOT, *, flow: str = "main", input_json: bytes = b"{}") -> RunningFlow:
        """An execution of one of FLOWS that has begun."""
        execution = Execution("", "acme", flow, user.name, "", input_json, show_script=False)
        active = self.runner.prepare(execution, self.snapshot.clients["acme"].flows[flow], self.limits, "user")
        self.runner.start(active, lambda _ended: None)
        await settle()
        return RunningFlow(self, active)

    async def child(self, number: int = -1) -> RunningFlow:
        """The flow that was started last, or the one of that number, once it runs."""
        await settle()
        active = self.runner.find_active(self.pool.submitted[number].execution_id)
        assert active is not None
        return RunningFlow(self, active)

    def change(self, *users: User, settings: Mapping[str, Any] = SETTINGS, flows: tuple[str, ...] = FLOWS) -> None:
        """The operator changes what there is."""
        self.snapshot = snapshot_of(*users, settings=settings, flows=flows)

    @property
    def call(self) -> FakeRestCall:
        """The outgoing call that was started last."""
        return self.rest.calls[-1]


def snapshot_of(*users: User, settings: Mapping[str, Any] = SETTINGS, flows: tuple[str, ...] = FLOWS) -> Snapshot:
    """acme with these users, settings and flows."""
    client = Client(
        "acme",
        {user.name: user for user in users},
        {name: Flow("acme", name, f"# {name}", f"hash of {name}", f"flows/acme/{name}.py") for name in flows},
        {name: Setting(name, value, f"config/acme/settings/{name}.yaml") for name, value in settings.items()},
        {},
    )
    return Snapshot(Options(), {"acme": client}, ())


def limited(**limits: Any) -> Limits:
    """The daemon's limits with some of them changed."""
    return replace(Options(), **limits)
