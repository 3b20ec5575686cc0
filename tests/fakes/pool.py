"""A pool without processes: the test says what each flow does, the daemon sees what it would see of the real one.

job = pool.submitted[0]
pool.dispatch()                 gives slots, as the real one does in the loop's next turns by itself
pool.call(job, "sleep", {…})    the flow asks; the answer, once there is one, is in pool.answers
pool.end(job)                   the flow is over
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from whd.errors import BadPayload, HttpError
from whd.model.execution import Cause, Status
from whd.model.snapshot import Client, Flow
from whd.pool.compiler import Code
from whd.pool.job import End, FlowResponse, Job, JobState
from whd.pool.payload_parser import OnParsed
from whd.pool.scheduler import Scheduler
from whd.wire import payload
from whd.wire.strict_json import MAX_OUTPUT_DEPTH, decode_strict

# Of the loop's clock: longer than any test has a flow wait.
PATIENCE_S = 10_000.0


@dataclass(frozen=True)
class PoolAnswer:
    """What a flow's call got."""

    job: Job
    call: int
    value: bytes
    raw: bytes
    error: tuple[str, str] | None


class FakePool:
    """Pool. `submitted`, `answers`, `ended`: all that came, in order. `is_held`: none starts, for want of a process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, slots: int = 8, max_queue: int = 1_000) -> None:
        self._loop = loop
        self.scheduler = Scheduler(slots, max_queue)
        self.compiler = FakeCompiler()
        self.payload_parser = FakePayloadParser(loop)
        self.submitted: list[Job] = []
        self.answers: list[PoolAnswer] = []
        self.ended: list[Job] = []
        self.is_held = False
        self._waiters: list[asyncio.Future[None]] = []

    # ---- as the daemon calls it --------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        self.submitted.append(job)
        self.scheduler.add(job)
        job.move(JobState.QUEUED)
        self._loop.call_soon(self.dispatch)

    def answer(
        self, job: Job, call: int, *, value: bytes = b"null", raw: bytes = b"", error: tuple[str, str] | None = None
    ) -> None:
        if job.open_call != call or job.state not in (JobState.PARKED, JobState.RUNNING):
            return
        self.answers.append(PoolAnswer(job, call, value, raw, error))
        for waiter in self._waiters:
            waiter.set_result(None)
        self._waiters.clear()
        job.close_call()
        if job.state is JobState.PARKED:
            job.resume(value, self._loop.time())
            self.scheduler.resume(job)
            self.dispatch()

    def cancel(self, job: Job, end: End) -> None:
        if job.state is not JobState.ENDED:
            self._finish(job, end)

    def withdraw(self, job: Job) -> None:
        assert job.state is JobState.QUEUED, job.state
        self.scheduler.remove(job)
        job.move(JobState.ENDED)

    # ---- what flows and their processes do ---------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Gives slots to all who may have one."""
        while (job := self.scheduler.take(can_start=not self.is_held)) is not None:
            if job.state is JobState.RESUMING:
                job.go_on(self._loop.time())
            else:
                self._begin(job)

    def start(self, job: Job) -> None:
        """Gives a slot to this one, whoever else waits."""
        self.scheduler.remove(job)
        self.scheduler.enter(job)
        self._begin(job)

    def _begin(self, job: Job) -> None:
        job.move(JobState.STARTING)
        job.begin(self._loop.time())
        job.listener.on_start(job)

    def call(self, job: Job, name: str, arguments: Any, raw: bytes = b"") -> int:
        """A running flow asks for something, and is parked if it is not answered at once; the call's number."""
        assert job.state is JobState.RUNNING, job.state
        assert job.open_call < 0, "a flow waits for its answer"
        job.count_call(len(raw))
        number = job.calls
        job.open(number)
        job.listener.on_call(job, number, name, arguments, raw)
        if job.state is JobState.RUNNING and job.open_call == number:
            job.move(JobState.PARKED)
            self.scheduler.leave(job)
            self.dispatch()
        return number

    async def wait_answer(self) -> None:
        """Returns when one more call was answered."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await asyncio.wait_for(waiter, PATIENCE_S)

    def log(self, job: Job, lines_json: bytes) -> None:
        """A running flow logs a JSON list of lines."""
        assert job.state is JobState.RUNNING, job.state
        job.listener.on_log(job, lines_json)

    def end(
        self,
        job: Job,
        status: Status = Status.ENDED_SUCCESS,
        message: str = "",
        *,
        output_json: bytes | None = None,
        response: FlowResponse | None = None,
        cause: Cause = Cause.NONE,
        name: str = "",
    ) -> None:
        """A running flow is over, or its process has ended it (`cause`)."""
        assert job.state is JobState.RUNNING, job.state
        self._finish(job, End(status, message, cause, output_json, response, name))

    def _finish(self, job: Job, end: End) -> None:
        if job.state in (JobState.STARTING, JobState.RUNNING):
            self.scheduler.leave(job)
        elif job.state in (JobState.QUEUED, JobState.RESUMING):
            self.scheduler.remove(job)
        job.close_call()
        job.move(JobState.ENDED)
        self.ended.append(job)
        job.listener.on_end(job, end)
        self.dispatch()


class FakeCompiler:
    """Compiler to which every source is fine, at once, but for those in `refusals` (by flow name: what is wrong)."""

    def __init__(self) -> None:
        self.refusals: dict[str, str] = {}
        self._codes: dict[tuple[str, str, str], Code] = {}

    def known(self, flow: Flow) -> Code | None:
        return self._codes.get((flow.client_name, flow.script_hash, flow.name))

    def compile(self, flow: Flow, done: Callable[[Code], None]) -> None:
        key = (flow.client_name, flow.script_hash, flow.name)
        refusal = self.refusals.get(flow.name, "")
        done(self._codes.setdefault(key, Code(key, flow, frame=b"" if refusal else b"code", refusal=refusal)))

    def keep(self, clients: Iterable[Client]) -> None:
        flows = [flow for client in clients for flow in client.flows.values()]
        wanted = {(flow.client_name, flow.script_hash, flow.name) for flow in flows}
        self._codes = {key: code for key, code in self._codes.items() if key in wanted}


class FakePayloadParser:
    """PayloadParser that reads on the loop, and answers in its next turn: never before its caller has gone on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.tasks = 0

    def parse(
        self,
        body: bytes | list[bytes | bytearray],
        content_type: str,
        has_key: bool,
        done: OnParsed,
        *,
        start: str,
        gunzip_limit: int = 0,
        pointers: Sequence[str] = (),
        unwrap: str = "",
    ) -> None:
        whole = b"".join(body) if isinstance(body, list) else body
        try:
            if gunzip_limit:
                whole = payload.gunzip(whole, gunzip_limit)
            parsed = payload.parse(whole, content_type, has_key, pointers, unwrap)
        except HttpError as error:
            self._later(done, error)
            return
        value = start.encode("ascii") + parsed.members_json + b"}"
        self._later(done, payload.Parsed(value, parsed.keys, is_whole=True, picked=parsed.picked))

    def check(self, output: bytes, done: OnParsed, *, max_depth: int = MAX_OUTPUT_DEPTH) -> None:
        try:
            decode_strict(output.decode("utf-8"), max_depth)
        except UnicodeDecodeError:
            self._later(done, BadPayload("it is not UTF-8"))
        except BadPayload as error:
            self._later(done, error)
        else:
            self._later(done, payload.Parsed(b""))

    def _later(self, done: OnParsed, result: payload.Parsed | HttpError) -> None:
        self.tasks += 1
        self._loop.call_soon(done, result)
