"""Runs jobs: a place from the scheduler, a process from Processes, and the clock over both.

The only place that decides when a worker is killed: `_kill_job`. A worker is never waited for; whatever it does or
leaves undone costs its own job and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError, HttpError
from ..executions.record import Cause, Status
from ..http.budget import BufferBudget
from ..payload import Parsed, is_quick
from ..settings.options import Options
from ..wire import FrameError, frame, split
from . import frames
from .compiler import Code, Compiler
from .digester import Digester
from .job import End, Job, JobState
from .orders import hold_run
from .processes import CPU_LIFE_S, Processes, nobody_else
from .scheduler import Scheduler
from .worker import Binding, Worker, death_text

log = logging.getLogger("whd.pool")

# Short jobs may wait in a process behind the one that runs there, so that it need not be woken for each. What counts as
# short, how often in a row it must have been, and when what waits behind is taken back after all.
SHORT_US = 1_000
SHORT_RUNS = 8
REVOKE_AFTER_S = 0.01
# How many may wait so, and how long all together may be expected to take: where another process on another core could
# run them at once, about what waking that costs, else what keeps the processes busy.
MAX_HANDED = 32
HANDED_SPREAD_US = 200
HANDED_US = 2_000
# All of it and a revocation fit into the socket's buffer, so that no write is ever cut.
MAX_HANDED_BYTES = 65_536
# Of a run frame, beside the names and the input; of a job, beside the time that its process tells.
RUN_FRAME_BYTES = 512
RUN_FRAME_US = 10

# What a frame of the log costs beside its lines.
LOG_FRAME_BYTES = 64

# A process that has nothing to do answers at once; one that does not is ended.
ANSWER_PATIENCE_S = 1.0

# A limit is noticed at most this much late; a runaway is to be over within 250 ms of its limit.
SWEEP_INTERVAL_S = 0.04
# A child that finds no process tries again so often and so long, while other pools have idle ones that they may end.
CHILD_RETRY_S = 0.01
CHILD_PATIENCE_S = 1.0


def no_idle_elsewhere() -> bool:
    """Of a pool that has max_workers to itself."""
    return False


def place_count(options: Options) -> int:
    """The option `workers`, 0 meaning twice the cores that this process may use."""
    return options.workers or 2 * core_count()


def core_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


class Pool:
    """One per front. `submit` a job, `answer` its calls, `cancel` it; its customer hears of the rest."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: Callable[[], Options],
        budget: BufferBudget,
        *,
        scheduler: Scheduler | None = None,
        share_worker_count: Callable[[int], int] = nobody_else,
        has_idle_elsewhere: Callable[[], bool] = no_idle_elsewhere,
    ) -> None:
        """The last three: of fronts/, where several pools share what the options allow in all."""
        self._loop = loop
        self._options = options
        config = {"wall": {"require": list(options().sandbox_require)}}
        self.processes = Processes(
            loop, options, config, budget, self._on_frame, self._on_gone, self._on_room, share_worker_count
        )
        self._has_idle_elsewhere = has_idle_elsewhere
        self.compiler = Compiler(loop, self.processes)
        self.digester = Digester(loop, self.processes, options)
        self.scheduler = scheduler or Scheduler(0, 0)
        self.scheduler.set_limits(place_count(options()), options().max_queue)
        self._started: dict[Job, None] = {}
        # Processes without a job that owe the answer to a revocation, and until when.
        self._unanswered: dict[Worker, float] = {}
        self._numbers = 0
        self._is_starved = False
        self._is_dispatching = False
        self._dispatch_handle: asyncio.Handle | None = None
        # Processes that run a short job, and those that frames are held for.
        self._short: dict[Worker, None] = {}
        self._held_for: list[Worker] = []
        self._spread_us = HANDED_SPREAD_US if core_count() > 1 else HANDED_US
        self._sweeper: asyncio.TimerHandle | None = None
        self.ended_total = 0
        self.killed_total = 0
        self.handed_total = 0
        self.taken_back_total = 0

    async def start(self, *, tells_layers: bool = True) -> None:
        """Starts the processes. Raises ConfigError when a layer of `sandbox_require` is missing.

        `tells_layers`: whether the log names what else is missing.
        """
        await self.processes.start()
        self._check_required()
        for layer in self.processes.layers:
            if tells_layers and not layer["engaged"]:
                log.warning("sandbox layer %s is missing: %s", layer["name"], layer["reason"])

    def _check_required(self) -> None:
        layers = {layer["name"]: layer for layer in self.processes.layers}
        for name in self._options().sandbox_require:
            layer = layers[name]  # settings/parse.py lets no other names through
            if not layer["engaged"]:
                raise ConfigError(
                    f"the sandbox layer {name!r} of sandbox_require does not engage here: {layer['reason']}; "
                    "`whd doctor` shows all layers"
                )

    async def close(self) -> None:
        """Kills what runs, tells nobody."""
        for handle in (self._sweeper, self._dispatch_handle):
            if handle is not None:
                handle.cancel()
        await self.processes.close()

    def set_options(self) -> None:
        """The options changed: what is kept from them here is taken anew."""
        options = self._options()
        self.scheduler.set_limits(place_count(options), options.max_queue)
        self._dispatch()

    def look_again(self) -> None:
        """What is shared with others may have become free."""
        self._on_room()
        self._dispatch()

    @property
    def is_starved(self) -> bool:
        """Whether jobs wait because no further process may be forked."""
        return self._is_starved

    # ---- for the customer --------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Queues a job and starts it as soon as it may. Whether the queue has room is asked of `scheduler` before."""
        self._numbers += 1
        job.number = self._numbers
        self.scheduler.add(job)
        job.move(JobState.QUEUED)
        self._dispatch_soon()

    def answer(
        self, job: Job, call: int, *, value: bytes = b"null", raw: bytes = b"", error: tuple[str, str] | None = None
    ) -> None:
        """Answers a call of a parked job: `value` is JSON text, or `error` is (type, text) of flow_api's errors.

        `raw` goes along as it is: a file's content.

        An answer to a job that ended, or to another call than the open one, is dropped.
        """
        if job.open_call != call or job.state not in (JobState.PARKED, JobState.RUNNING):
            return
        head: dict[str, Any] = {"op": "answer", "job": job.number, "call": call}
        if error is not None:
            head["error"] = {"type": error[0], "text": error[1]}
        if raw:
            head["raw_bytes"] = len(raw)
        answer = frame(head, value + raw)
        job.open_call = -1
        if job.state is JobState.RUNNING:
            # Answered before the job was parked: it never gave up its place.
            self._send_to(job, answer)
        else:
            job.answer = answer
            job.move(JobState.RESUMING)
            job.resuming_since = self._loop.time()
            self.scheduler.resume(job)
            self._dispatch()

    def cancel(self, job: Job, end: End) -> None:
        """Ends a job from outside, in whatever state it is; `on_end` gets `end`."""
        if job.state is not JobState.ENDED:
            self._kill_job(job, end)

    # ---- places and processes ----------------------------------------------------------------------------------------

    def _dispatch_soon(self) -> None:
        """Once all that the loop has read by now is looked at: jobs that came together are handed over together."""
        if self._dispatch_handle is None:
            self._dispatch_handle = self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        if self._is_dispatching:
            return  # a job that ends while it starts calls back into here
        if self._dispatch_handle is not None:
            self._dispatch_handle.cancel()
            self._dispatch_handle = None
        self._is_dispatching = True
        try:
            self._hand_over(self._spread_us)
            while (job := self.scheduler.take(can_start=not self._is_starved)) is not None:
                if job.state is JobState.RESUMING:
                    job.move(JobState.RUNNING)
                    # Like the wait for the first place, this one is not the flow's own time.
                    job.deadline += self._loop.time() - job.resuming_since
                    self._send_to(job, job.answer)
                    job.answer = b""
                else:
                    job.move(JobState.STARTING)
                    self._start(job)
            self._hand_over(HANDED_US)
            self._flush()
        finally:
            self._is_dispatching = False

    def _flush_soon(self, worker: Worker) -> None:
        """What is held for a process is written at the end of this dispatch, or of the next."""
        self._held_for.append(worker)
        if not self._is_dispatching:
            self._dispatch_soon()

    def _flush(self) -> None:
        for worker in self._held_for:
            worker.flush()
        self._held_for.clear()

    def _send_to(self, job: Job, payload: bytes) -> None:
        if job.worker is not None:
            job.worker.send(payload)

    def _start(self, job: Job) -> None:
        code = self.compiler.known(job.flow)
        if code is None:
            self.compiler.compile(job.flow, lambda code: self._start_compiled(job, code))
        else:
            self._start_compiled(job, code)

    def _start_compiled(self, job: Job, code: Code) -> None:
        if job.state is not JobState.STARTING:
            return  # cancelled meanwhile
        if code.refusal:
            self._finish(job, End(Status.ENDED_ERROR, code.refusal, Cause.REFUSED))
            return
        binding = Binding("run", job.client_name, job.user_name, job.limits.memory_bytes)
        if job.isolation != "execution":
            worker = self.processes.take_idle(binding)
            if worker is not None:
                self._run(job, code, worker)
                return
        if not self.processes.has_room(is_child=job.is_child):
            self._no_room(job)
            return
        self.processes.request(
            binding, lambda worker, reason: self._on_process(job, code, worker, reason), is_child=job.is_child
        )

    def _no_room(self, job: Job) -> None:
        if job.is_child:
            if self._has_idle_elsewhere():
                self._loop.call_later(CHILD_RETRY_S, self._retry_child, job, self._loop.time() + CHILD_PATIENCE_S)
                return
            self._refuse_child(job)
            return
        job.move(JobState.QUEUED)
        self._is_starved = True
        self.scheduler.put_back(job)

    def _retry_child(self, job: Job, deadline: float) -> None:
        if job.state is not JobState.STARTING:
            return  # cancelled meanwhile
        if self.processes.has_room(is_child=True):
            self._start(job)
        elif self._loop.time() < deadline:
            self._loop.call_later(CHILD_RETRY_S, self._retry_child, job, deadline)
        else:
            self._refuse_child(job)

    def _refuse_child(self, job: Job) -> None:
        maximum = self._options().max_workers
        text = f"max_workers: all {maximum} worker processes are in use"
        self._finish(job, End(Status.ENDED_ERROR, text, Cause.LIMIT))

    def _on_room(self) -> None:
        if self._is_starved:
            self._is_starved = False
            self._dispatch()

    def _on_process(self, job: Job, code: Code, worker: Worker | None, reason: str) -> None:
        if job.state is not JobState.STARTING:
            if worker is not None:
                self.processes.give_back(worker)
        elif worker is None:
            self._finish(job, End(Status.ENDED_ERROR, f"no process for the flow: {reason}", Cause.CRASH))
        else:
            self._run(job, code, worker)

    def _run(self, job: Job, code: Code, worker: Worker) -> None:
        worker.wants_replacement = worker.wants_replacement or job.isolation == "execution"
        job.code, job.handed_after = code, -1
        self._begin(job, worker)
        hold_run(job, code, worker)
        self._flush_soon(worker)
        self._hand_more(job, worker, self._spread_us)

    def _begin(self, job: Job, worker: Worker) -> None:
        """A job is the one that its process runs now."""
        job.move(JobState.RUNNING)
        job.worker = worker
        worker.job = job
        worker.reader.limit_bytes = frames.frame_limit_bytes(job.limits)
        job.started = self._loop.time()
        job.deadline = job.started + job.limits.timeout_s
        self._started[job] = None
        if _is_short(job):
            self._short[worker] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep)
        job.customer.on_start(job)

    # ---- short jobs wait with the process ----------------------------------------------------------------------------

    def _hand_over(self, most_us: int) -> None:
        """Hands what waits for a place to the processes that run short jobs, as far as they are soon done with it."""
        if self.scheduler.waiting:
            for worker in list(self._short):
                if worker.job is not None:
                    self._hand_more(worker.job, worker, most_us)

    def _hand_more(self, job: Job, worker: Worker, most_us: int) -> None:
        """Hands over jobs that may wait in the process behind `job`, which runs there and is short."""
        if worker.wants_replacement or worker.is_revoking or not _is_short(job) or not self.scheduler.waiting:
            return
        assert job.code is not None
        handed = worker.handed
        wait_us = job.code.took_us + RUN_FRAME_US
        size = 0
        for waiting in handed:
            assert waiting.code is not None
            wait_us += waiting.code.took_us + RUN_FRAME_US
            size += RUN_FRAME_BYTES + len(waiting.input_json)
        while len(handed) < MAX_HANDED and wait_us < most_us and size < MAX_HANDED_BYTES:
            more = self.scheduler.take_behind(job.client_name, lambda other: self._fits_behind(other, job))
            if more is None:
                return
            code = self.compiler.known(more.flow)
            assert code is not None  # _fits_behind saw it
            more.move(JobState.HANDED)
            more.code, more.worker, more.handed_after = code, worker, worker.revokes_sent
            handed.append(more)
            self.handed_total += 1
            size += hold_run(more, code, worker, is_behind=True)
            wait_us += code.took_us + RUN_FRAME_US
            self._flush_soon(worker)

    def _fits_behind(self, other: Job, job: Job) -> bool:
        code = self.compiler.known(other.flow)
        return (
            code is not None
            and code.short_runs >= SHORT_RUNS
            and other.user_name == job.user_name
            and other.limits is job.limits
            and len(other.input_json) < MAX_HANDED_BYTES // 2
            and other.isolation == job.isolation != "execution"
        )

    def _revoke(self, worker: Worker) -> None:
        """Takes back what waits in a process behind a job that turned out long.

        The process sends a job's end before it looks for a revocation, and looks before it starts a job that was
        handed behind another. So whatever is not ended by a frame that is here once the revocation is in its socket,
        except the job that runs, will never start there: none runs twice. If an end is among those frames, the job
        behind it may have begun before the process could see the revocation, or not: it counts as running until the
        process answers the revocation (`_on_revoked`), so that none is lost.
        """
        if worker.is_revoking:
            return  # what is read for the sake of one can ask for another
        worker.is_revoking = True
        worker.revokes_sent += 1
        worker.send(frame({"op": "revoke"}))
        if not worker.has_unsent:
            worker.read_last()
            self._settle_handed(worker)
        worker.is_revoking = False

    def _on_revoked(self, worker: Worker) -> None:
        """A process tells, between two jobs, that it will start nothing that was handed over before a revocation."""
        worker.revokes_answered += 1
        job = worker.job
        if worker.revokes_answered > worker.revokes_sent or (job is not None and job.state is not JobState.RUNNING):
            log.warning("worker %d answered what it was not asked, and was ended", worker.number)
            if job is not None:
                self._broke_protocol(job, "it answers a revocation that it was not sent")
            else:
                self._unanswered.pop(worker, None)
                self.processes.discard(worker)
            return
        later = [handed for handed in worker.handed if handed.handed_after >= worker.revokes_answered]
        if len(later) < len(worker.handed):
            for _ in later:
                worker.handed.pop()
            self._take_back(worker)
            worker.handed.extend(later)
        if job is not None and 0 <= job.handed_after < worker.revokes_answered:
            if job.calls or job.log_lines:
                # It did start: run again, it would do twice what it has done already, and never reach its limits.
                self._broke_protocol(job, "it takes back what it has begun")
                return
            self._postpone(job, worker)
        if worker.job is None and not worker.handed and worker.revokes_answered == worker.revokes_sent:
            self._unanswered.pop(worker, None)
            self.processes.give_back(worker)
        self._dispatch()

    def _postpone(self, job: Job, worker: Worker) -> None:
        """A job that was thought to run waits again; its process goes on with what was handed over later."""
        self._started.pop(job, None)
        job.worker = worker.job = None
        self._short.pop(worker, None)
        job.move(JobState.QUEUED)
        job.customer.on_postponed(job)
        self.scheduler.leave(job)
        self.scheduler.take_back(job)
        self.taken_back_total += 1
        if worker.handed:
            self._begin_handed(worker)

    def _settle_handed(self, worker: Worker) -> None:
        """What waited in a process goes back to the queue; the first of it ends, if it may have started."""
        if worker.handed and worker.handed_unsure:
            unsure = worker.handed.popleft()
            unsure.worker = None
            text = "the flow's process was ended for another execution's sake, perhaps while this one ran"
            self._finish(unsure, End(Status.ENDED_ERROR, text, Cause.CRASH))
        self._take_back(worker)

    def _take_back(self, worker: Worker) -> None:
        while worker.handed:
            job = worker.handed.pop()
            job.worker = None
            job.move(JobState.QUEUED)
            self.scheduler.take_back(job)
            self.taken_back_total += 1

    # ---- what workers send -------------------------------------------------------------------------------------------

    def _on_frame(self, worker: Worker, payload: bytes) -> None:
        if payload == frames.REVOKED and worker.revokes_sent:
            self._on_revoked(worker)
            return
        job = worker.job
        if job is None:
            if worker.handed:
                # It was killed, but had ended its job before: what waited behind may have started.
                worker.handed_unsure = True
                return
            if not (self.compiler.on_frame(worker, payload) or self.digester.on_frame(worker, payload)):
                log.warning("worker %d spoke without a job and was ended", worker.number)
                self.processes.discard(worker)
            return
        try:
            if job.state is JobState.RUNNING and job.open_call < 0:
                plain = frames.read_plain_end(payload, job.limits)
                if plain is not None and plain[0] == job.number:
                    self._on_end(job, plain[1], plain[2])
                    return
                start = frames.log_start(job.number)
                if payload.startswith(start):
                    self._on_log_frame(job, payload[len(start) :])
                    return
            head, value = split(payload)
            if frames.int_member(head, "job") != job.number:
                raise FrameError("a frame of another job")
            self._on_job_frame(job, head, value)
        except FrameError as error:
            self._broke_protocol(job, str(error))
        except Exception:
            # A defect of ours: this execution's caller must not wait for ever, and nobody else is concerned.
            log.exception("a frame of %s/%s", job.client_name, job.flow.name)
            if job.state is not JobState.ENDED:
                self._kill_job(job, End(Status.ENDED_ERROR, "internal error; the daemon's log has more", Cause.CRASH))

    def _on_job_frame(self, job: Job, head: dict[str, Any], value: bytes | None) -> None:
        op = head.get("op")
        if job.state is not JobState.RUNNING or job.open_call >= 0:
            raise FrameError(f"op {str(op)[:20]} while the job waits")
        if op == "end":
            self._on_end_frame(job, head, value)
        elif op == "log":
            self._on_log_frame(job, value)
        elif op == "call":
            worker = job.worker
            if worker is not None and (worker.has_unsent or worker.frames_left or worker.reader.pending_bytes):
                # Who asks waits for the answer: nothing may follow, and nothing may be left unread.
                raise FrameError("a request that does not wait for its answer, or for the one before")
            call, name, arguments, raw = frames.read_call(head, value, job.limits)
            job.calls += 1
            job.calls_bytes += len(value or b"")
            seconds = self._loop.time() - job.started
            if limit := frames.limit_of_calls(job.calls, job.calls_bytes, seconds, job.limits):
                self._kill_job(job, End(Status.ENDED_ERROR, limit, Cause.LIMIT))
                return
            job.open_call = call
            if job.code is not None:
                job.code.short_runs = 0
            if job.worker is not None and job.worker.handed:
                self._revoke(job.worker)
            job.customer.on_call(job, call, name, arguments, raw)
            if job.state is JobState.RUNNING and job.open_call == call:
                # Not answered at once: while it waits, somebody else may run.
                job.move(JobState.PARKED)
                self.scheduler.leave(job)
                self._dispatch()
        else:
            raise FrameError(f"unknown op {str(op)[:20]}")

    def _on_log_frame(self, job: Job, value: bytes | None) -> None:
        lines = frames.read_log(value)
        job.log_bytes += len(lines) + LOG_FRAME_BYTES
        job.log_lines += 1
        if limit := frames.limit_of_log(job.log_lines, job.log_bytes, job.limits):
            self._kill_job(job, End(Status.ENDED_ERROR, limit, Cause.LIMIT))
            return
        job.customer.on_log(job, lines)

    def _on_end_frame(self, job: Job, head: dict[str, Any], value: bytes | None) -> None:
        end = frames.read_end(head, value, job.limits)
        worker = job.worker
        if worker is not None and head.get("fresh") is True:
            # Such a process ends itself, whatever waits in it.
            worker.wants_replacement = True
            self._take_back(worker)
        self._on_end(job, end, frames.int_member(head, "took_us"))

    def _on_end(self, job: Job, end: End, took_us: int) -> None:
        code, worker = job.code, job.worker
        if worker is not None:
            if code is not None and not job.calls:
                # The process's own word for it; one that lies makes its own user's jobs wait.
                code.short_runs = code.short_runs + 1 if took_us < SHORT_US else 0
                code.took_us += (min(took_us, SHORT_US) - code.took_us) >> 3
            self._free_worker(job, worker)
        output = end.output_json or b""
        if not is_quick(output):
            self._started.pop(job, None)
            job.move(JobState.CHECKING)
            self.scheduler.leave(job)
            self.digester.check(output, lambda result: self._on_checked(job, end, result))
            self._dispatch()
        else:
            self._finish(job, end)

    def _on_checked(self, job: Job, end: End, result: Parsed | HttpError) -> None:
        if isinstance(result, HttpError):
            end = End(Status.ENDED_ERROR, f"the worker broke its protocol: the output: {result}", Cause.CRASH)
        if job.state is JobState.CHECKING:
            self._finish(job, end)

    def _broke_protocol(self, job: Job, what: str) -> None:
        log.warning("a worker of %s/%s broke the protocol: %s", job.client_name, job.flow.name, what)
        self._kill_job(job, End(Status.ENDED_ERROR, f"the worker broke its protocol: {what}", Cause.CRASH))

    def _on_gone(self, worker: Worker) -> None:
        job = worker.job
        self._unanswered.pop(worker, None)
        self._short.pop(worker, None)
        self._settle_handed(worker)
        if job is not None:
            self._kill_job(job, End(Status.ENDED_ERROR, death_text(worker), Cause.CRASH))
        else:
            _ = self.compiler.on_gone(worker) or self.digester.on_gone(worker)
        self._dispatch()

    # ---- the ends ----------------------------------------------------------------------------------------------------

    def _free_worker(self, job: Job, worker: Worker) -> None:
        """A job's process goes on with what waits in it, or is given back."""
        job.worker = None
        worker.job = None
        if worker.handed:
            worker.jobs_done += 1
            self._begin_handed(worker)
            return
        self._short.pop(worker, None)
        if worker.revokes_answered < worker.revokes_sent and not worker.wants_replacement:
            # Its answer is under way: it gets nothing new before.
            self._unanswered[worker] = self._loop.time() + ANSWER_PATIENCE_S
        else:
            self.processes.give_back(worker)

    def _begin_handed(self, worker: Worker) -> None:
        following = worker.handed.popleft()
        self.scheduler.enter(following)
        self._begin(following, worker)

    def _kill_job(self, job: Job, end: End) -> None:
        worker = job.worker
        if worker is not None and worker.handed and not worker.is_revoking:
            # Its end may be here already; and one that only waits behind another is taken back first.
            self._revoke(worker)
            worker = job.worker
            if job.state is JobState.ENDED:
                return
        if worker is not None:
            self.killed_total += 1
            job.worker = None
            worker.job = None
            self._short.pop(worker, None)
            self.processes.discard(worker)
        self._finish(job, end)

    def _finish(self, job: Job, end: End) -> None:
        state = job.state
        job.open_call = -1
        self._started.pop(job, None)
        if state in (JobState.STARTING, JobState.RUNNING):
            self.scheduler.leave(job)
        elif state in (JobState.QUEUED, JobState.RESUMING):
            self.scheduler.remove(job)
        job.move(JobState.ENDED)
        self.ended_total += 1
        job.customer.on_end(job, end)
        self._dispatch_soon()

    def _sweep(self) -> None:
        now = self._loop.time()
        for job in list(self._started):
            if job.worker is not None and job.worker.handed and now - job.started > REVOKE_AFTER_S:
                self._revoke(job.worker)
                self._dispatch()
            if job.state is JobState.ENDED:
                continue  # by what was just read, for its own sake or another one's; it cannot end twice
            if now >= job.deadline and job.state is not JobState.RESUMING:
                text = f"timeout_s: the execution reached its limit of {job.limits.timeout_s:g} s"
                self._kill_job(job, End(Status.ENDED_ERROR, text, Cause.TIMEOUT))
            elif job.worker is not None:
                self._check_cpu(job, job.worker, now)
        for worker, until in list(self._unanswered.items()):
            if now > until:
                del self._unanswered[worker]
                self.processes.discard(worker)
        is_needed = self._started or self._unanswered
        self._sweeper = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep) if is_needed else None

    def _check_cpu(self, job: Job, worker: Worker, now: float) -> None:
        used = worker.cpu_s()
        if used < 0:
            return
        if job.cpu_base_s < 0:
            # A short job is never measured. The first look counts all the time so far as used: at most one sweep.
            job.cpu_base_s = max(0.0, used - (now - job.started))
        elif used - job.cpu_base_s > job.limits.cpu_s:
            text = f"cpu_s: the execution used its limit of {job.limits.cpu_s:g} s of CPU time"
            self._kill_job(job, End(Status.ENDED_ERROR, text, Cause.CPU))
        if used > CPU_LIFE_S:
            worker.wants_replacement = True


def _is_short(job: Job) -> bool:
    return job.code is not None and job.code.short_runs >= SHORT_RUNS and job.isolation != "execution"
