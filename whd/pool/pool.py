"""Runs jobs: a slot from the scheduler, a process from Processes, and the clock over both.

The only place that decides when a worker is killed: `_kill_job`. A worker is never waited for; whatever it does or
leaves undone costs its own job and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError, HttpError
from ..model.budget import BufferBudget
from ..model.execution import Cause, Status
from ..model.options import Options
from ..wire.frames import FrameError, frame, split
from ..wire.payload import Parsed
from ..wire.response_headers import webhook_paths
from ..wire.strict_json import LARGE_BYTES, is_quick
from . import frames_in as frames
from .compiler import Code, Compiler
from .cores import slot_count
from .frames_out import hold_run
from .job import End, Job, JobState
from .line import Line
from .payload_parser import PayloadParser
from .prefetch import Prefetch, is_short
from .processes import CPU_LIFE_S, Processes
from .quota import PoolQuota
from .worker import Binding, Worker, death_text

log = logging.getLogger("whd.pool")

# What a frame of the log costs beside its lines.
LOG_FRAME_BYTES = 64

# A limit is noticed at most this much late; a runaway is to be over within 250 ms of its limit.
SWEEP_INTERVAL_S = 0.04
# A child that finds no process tries again so often and so long, while other pools have idle ones that they may end.
CHILD_RETRY_S = 0.01
CHILD_PATIENCE_S = 1.0


class Pool:
    """One per front. `submit` a job, `answer` its calls, `cancel` it; its listener hears of the rest."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: Callable[[], Options],
        budget: BufferBudget,
        quota: PoolQuota,
    ) -> None:
        """`quota`: what of the options' limits is this pool's."""
        self._loop = loop
        self._options = options = quota.options_of_pool(options)
        config = {"wall": {"require": list(options().sandbox_require)}}
        self.processes = Processes(
            loop, options, config, budget, self._on_frame, self._on_gone, self._on_room, quota.share_worker_count
        )
        self._has_idle_elsewhere = quota.has_idle_elsewhere
        self._is_first = quota.is_first
        self.compiler = Compiler(loop, self.processes)
        self.payload_parser = PayloadParser(loop, self.processes, options)
        self.scheduler = quota.scheduler
        self.scheduler.set_limits(slot_count(options()), options().max_queue)
        self._started: dict[Job, None] = {}
        self._is_starved = False
        self.is_dispatching = False
        self._dispatch_handle: asyncio.Handle | None = None
        self.prefetch = Prefetch(loop, self.scheduler, self.compiler, self.processes, self)
        self._sweeper: asyncio.TimerHandle | None = None
        self.killed_total = 0

    async def start(self) -> None:
        """Starts the processes; logs what the wall lacks. Raises ConfigError if that is in `sandbox_require`."""
        await self.processes.start()
        self._check_required()
        for layer in self.processes.layers:
            if self._is_first and not layer["engaged"]:
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
        self.scheduler.set_limits(slot_count(options), options.max_queue)
        self.dispatch()

    def look_again(self) -> None:
        """What is shared with others may have become free."""
        self._on_room()
        self.dispatch()

    @property
    def is_starved(self) -> bool:
        """Whether jobs wait because no further process may be forked."""
        return self._is_starved

    # ---- for the listener --------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Queues a job and starts it as soon as it may. Whether the queue has room is asked of `scheduler` before."""
        self.scheduler.add(job)
        job.move(JobState.QUEUED)
        self.dispatch_soon()

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
        job.close_call()
        if job.state is JobState.RUNNING:
            # Answered before the job was parked: it never gave up its slot.
            self._send_to(job, answer)
        else:
            job.resume(answer, self._loop.time())
            self.scheduler.resume(job)
            self.dispatch()

    def cancel(self, job: Job, end: End) -> None:
        """Ends a job from outside, in whatever state it is; `on_end` gets `end`."""
        if job.state is not JobState.ENDED:
            self._kill_job(job, end)

    def withdraw(self, job: Job) -> None:
        """Takes out a job that waits in the queue: it never starts, and its listener hears no more of it."""
        assert job.state is JobState.QUEUED
        self.scheduler.remove(job)
        job.move(JobState.ENDED)

    # ---- slots and processes -----------------------------------------------------------------------------------------

    def dispatch_soon(self) -> None:
        """Once all that the loop has read by now is looked at: what came together is sent together.

        One turn later, in fact: while the loop sends its answers, the first callers call again, and each process that
        need not be woken for them by themselves is two switches less.
        """
        if self._dispatch_handle is None:
            self._dispatch_handle = self._loop.call_soon(self._dispatch_next)

    def _dispatch_next(self) -> None:
        self._dispatch_handle = self._loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Gives slots to who may have one now."""
        if self.is_dispatching:
            return  # a job that ends while it starts calls back into here
        if self._dispatch_handle is not None:
            self._dispatch_handle.cancel()
            self._dispatch_handle = None
        prefetch = self.prefetch
        self.is_dispatching = True
        try:
            prefetch.fill_all(prefetch.spread_us)
            while (job := self.scheduler.take(can_start=not self._is_starved)) is not None:
                if job.state is JobState.RESUMING:
                    self._send_to(job, job.go_on(self._loop.time()))
                else:
                    job.move(JobState.STARTING)
                    self._start(job)
            prefetch.fill_all(prefetch.most_us)
            prefetch.flush()
        finally:
            self.is_dispatching = False

    def _send_to(self, job: Job, payload: bytes) -> None:
        if job.line is not None:
            job.line.worker.send(payload)

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
            self.finish(job, End(Status.ENDED_ERROR, code.refusal, Cause.REFUSED))
            return
        is_large = len(job.input_json) > LARGE_BYTES
        binding = Binding("run", job.client_name, job.user_name, job.limits.memory_bytes, is_large)
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
        self.finish(job, End(Status.ENDED_ERROR, text, Cause.LIMIT))

    def _on_room(self) -> None:
        if self._is_starved:
            self._is_starved = False
            self.dispatch()

    def _on_process(self, job: Job, code: Code, worker: Worker | None, reason: str) -> None:
        if job.state is not JobState.STARTING:
            if worker is not None:
                self.processes.give_back(worker)
        elif worker is None:
            self.finish(job, End(Status.ENDED_ERROR, f"no process for the flow: {reason}", Cause.CRASH))
        else:
            self._run(job, code, worker)

    def _run(self, job: Job, code: Code, worker: Worker) -> None:
        if job.isolation == "execution":
            worker.retire()
        # What is prefetched behind it has the same limits.
        worker.expect(frames.frame_limit_bytes(job.limits))
        line = worker.line or Line(worker)
        line.start(job, code)
        self.begin(job, line)
        hold_run(job, code, line)
        prefetch = self.prefetch
        prefetch.flush_soon(worker)
        prefetch.fill(line, job, prefetch.spread_us)

    def begin(self, job: Job, line: Line) -> None:
        """The current job of a process, which holds a slot, runs from now on."""
        job.begin(self._loop.time())
        self._started[job] = None
        if is_short(job):
            self.prefetch.short[line] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep)
        job.listener.on_start(job)

    def postpone(self, job: Job, line: Line) -> None:
        """The current job of a process has not begun after all: it leaves it and waits again, as the next."""
        self._started.pop(job, None)
        line.drop(job)
        job.postpone()
        job.listener.on_postponed(job)
        self.scheduler.put_back(job)

    # ---- what workers send -------------------------------------------------------------------------------------------

    def _on_frame(self, worker: Worker, payload: bytes | bytearray) -> None:
        line = worker.line
        if line is not None and payload == frames.REVOKED and line.revokes_sent:
            self.prefetch.on_revoked(line)
            return
        job = line.job if line is not None else None
        if job is None:
            if line is not None and line.prefetched:
                return  # it is being ended; Prefetch.requeue says why nothing is lost
            if not (self.compiler.on_frame(worker, payload) or self.payload_parser.on_frame(worker, payload)):
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
            self.break_protocol(job, str(error))
        except Exception:
            # A defect of ours: this execution's caller must not wait for ever, and nobody else is concerned.
            log.exception("a frame of %s/%s", job.client_name, job.flow.name)
            if job.state is not JobState.ENDED:
                self._kill_job(job, End(Status.ENDED_ERROR, "internal error; the daemon's log has more", Cause.CRASH))

    def _on_job_frame(self, job: Job, head: dict[str, Any], value: bytes | bytearray | None) -> None:
        op = head.get("op")
        if job.state is not JobState.RUNNING or job.open_call >= 0:
            raise FrameError(f"op {str(op)[:20]} while the job waits")
        if op == "end":
            self._on_end_frame(job, head, value)
        elif op == "log":
            self._on_log_frame(job, value)
        elif op == "call":
            line = job.line
            if line is not None and not line.worker.is_between_frames:
                # Who asks waits for the answer: nothing may follow, and nothing may be left unread.
                raise FrameError("a request that does not wait for its answer, or for the one before")
            call, name, arguments, raw = frames.read_call(head, value, job.limits)
            job.count_call(len(value or b""))
            seconds = self._loop.time() - job.started
            if limit := frames.limit_of_calls(job.calls, job.calls_bytes, seconds, job.limits):
                self._kill_job(job, End(Status.ENDED_ERROR, limit, Cause.LIMIT))
                return
            job.open(call)
            self.prefetch.on_call(job)
            if job.open_call != call:
                return  # something followed after all, and has ended it
            job.listener.on_call(job, call, name, arguments, raw)
            if job.state is JobState.RUNNING and job.open_call == call:
                # Not answered at once: while it waits, somebody else may run.
                job.move(JobState.PARKED)
                self.scheduler.leave(job)
                self.dispatch()
        else:
            raise FrameError(f"unknown op {str(op)[:20]}")

    def _on_log_frame(self, job: Job, value: bytes | bytearray | None) -> None:
        lines = frames.read_log(value)
        job.count_log(len(lines) + LOG_FRAME_BYTES)
        if limit := frames.limit_of_log(job.log_lines, job.log_bytes, job.limits):
            self._kill_job(job, End(Status.ENDED_ERROR, limit, Cause.LIMIT))
            return
        job.listener.on_log(job, lines)

    def _on_end_frame(self, job: Job, head: dict[str, Any], value: bytes | bytearray | None) -> None:
        cookie_paths = webhook_paths(job.client_name, job.webhook_name) if "response" in head else ()
        end = frames.read_end(head, value, job.limits, cookie_paths)
        line = job.line
        if line is not None and head.get("fresh") is True:
            # Such a process ends itself, whatever waits in it.
            line.worker.retire()
            self.prefetch.requeue(line)
        self._on_end(job, end, frames.int_member(head, "took_us"))

    def _on_end(self, job: Job, end: End, took_us: int) -> None:
        if job.line is not None:
            self.prefetch.free(job, job.line, took_us)
        output = end.output_json or b""
        if not is_quick(output):
            self._started.pop(job, None)
            job.move(JobState.CHECKING)
            self.scheduler.leave(job)
            self.payload_parser.check(output, lambda result: self._on_checked(job, end, result))
            self.dispatch()
        else:
            self.finish(job, end)

    def _on_checked(self, job: Job, end: End, result: Parsed | HttpError) -> None:
        if isinstance(result, HttpError):
            end = End(Status.ENDED_ERROR, f"the worker broke its protocol: the output: {result}", Cause.CRASH)
        if job.state is JobState.CHECKING:
            self.finish(job, end)

    def break_protocol(self, job: Job, what: str) -> None:
        """The process that runs a job did what it must not: both end."""
        log.warning("a worker of %s/%s broke the protocol: %s", job.client_name, job.flow.name, what)
        self._kill_job(job, End(Status.ENDED_ERROR, f"the worker broke its protocol: {what}", Cause.CRASH))

    def _on_gone(self, worker: Worker) -> None:
        line = worker.line
        if line is not None:
            self.prefetch.forget(line)
            self.prefetch.requeue(line)
            if line.job is not None:
                self._kill_job(line.job, End(Status.ENDED_ERROR, death_text(worker), Cause.CRASH))
        else:
            _ = self.compiler.on_gone(worker) or self.payload_parser.on_gone(worker)
        self.dispatch()

    # ---- the ends ----------------------------------------------------------------------------------------------------

    def _kill_job(self, job: Job, end: End) -> None:
        line = job.line
        if line is not None and line.prefetched and not line.is_revoking:
            # Its end may be here already; and one that only waits behind another is withdrawn first.
            self.prefetch.revoke(line)
            line = job.line
            if job.state is JobState.ENDED:
                return
        if line is not None:
            self.killed_total += 1
            line.drop(job)
            self.prefetch.forget(line)
            # What is left in there hears of it when the process is gone.
            self.processes.discard(line.worker, reads_on=not line.is_empty)
        self.finish(job, end)

    def finish(self, job: Job, end: End) -> None:
        """A job is over; its process is no concern here."""
        state = job.state
        if job.open_call >= 0:
            job.close_call()
        self._started.pop(job, None)
        if state in (JobState.STARTING, JobState.RUNNING):
            self.scheduler.leave(job)
        elif state in (JobState.QUEUED, JobState.RESUMING):
            self.scheduler.remove(job)
        job.move(JobState.ENDED)
        job.listener.on_end(job, end)
        self.dispatch_soon()

    def _sweep(self) -> None:
        now = self._loop.time()
        self.prefetch.revoke_late(self._started, now)
        for job in list(self._started):
            if job.state is JobState.ENDED:
                continue  # by what was just read, for its own sake or another one's; it cannot end twice
            if now >= job.deadline and job.state is not JobState.RESUMING:
                text = f"timeout_s: the execution reached its limit of {job.limits.timeout_s:g} s"
                self._kill_job(job, End(Status.ENDED_ERROR, text, Cause.TIMEOUT))
            elif job.line is not None:
                self._check_cpu(job, job.line.worker, now)
        self.prefetch.end_silent(now)
        is_needed = self._started or not self.prefetch.is_answered
        self._sweeper = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep) if is_needed else None

    def _check_cpu(self, job: Job, worker: Worker, now: float) -> None:
        used = worker.cpu_s()
        if used < 0:
            return
        if job.cpu_used_s(used, now) > job.limits.cpu_s:
            text = f"cpu_s: the execution used its limit of {job.limits.cpu_s:g} s of CPU time"
            self._kill_job(job, End(Status.ENDED_ERROR, text, Cause.CPU))
        if used > CPU_LIFE_S:
            worker.retire()
