"""Short jobs wait in a process behind the one that runs there, so that it need not be woken for each.

Such a job is PREFETCHED: it has left the scheduler's queue, holds no slot, and takes over the slot of the job before
it. When that one turns out long after all, what waits behind it is revoked and waits in the queue again. What is to be
written to the processes is held until the end of a dispatch, so that all that a process gets is one write.

Which job is where, and what a revocation means for it, is line.py's; here it is decided and done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from ..wire.frames import frame
from .compiler import Compiler
from .cores import core_count
from .frames_out import hold_run
from .job import Job
from .line import Line
from .processes import Processes
from .scheduler import Scheduler
from .worker import Worker

log = logging.getLogger("whd.pool")

# What counts as short, how often in a row it must have been, and when what waits behind is revoked after all.
SHORT_US = 1_000
SHORT_RUNS = 8
REVOKE_AFTER_S = 0.01
# How many may be prefetched by a process, and how long all together may be expected to take: where another process on
# another core could run them at once, about what waking that costs, else what keeps the processes busy.
MAX_PREFETCHED = 32
SPREAD_US = 200
MOST_US = 2_000
# Of a job, beside the time that its process tells.
RUN_FRAME_US = 10

# A process that has nothing to do answers at once; one that does not is ended.
ANSWER_PATIENCE_S = 1.0

REVOKE = frame({"op": "revoke"})


def is_short(job: Job) -> bool:
    """Whether others may wait behind a job that runs or is about to."""
    return job.code is not None and job.code.short_runs >= SHORT_RUNS and job.isolation != "execution"


class Runs(Protocol):
    """The pool, as far as prefetching needs it."""

    is_dispatching: bool

    def begin(self, job: Job, line: Line) -> None:
        """The current job of a process, which holds a slot, runs from now on."""

    def postpone(self, job: Job, line: Line) -> None:
        """The current job of a process has not begun after all: it leaves it and waits again, as the next."""

    def break_protocol(self, job: Job, what: str) -> None:
        """The process that runs a job did what it must not: both end."""

    def dispatch(self) -> None:
        """Gives slots to who may have one now."""

    def dispatch_soon(self) -> None:
        """The same, once the loop has gone through what it has read."""


class Prefetch:
    """What waits in processes. The pool says which jobs begin and end where; what is done to the pool goes by Runs.

    `short`: lines whose current job is short, which the pool notes when the job begins; free and forget take them out.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scheduler: Scheduler,
        compiler: Compiler,
        processes: Processes,
        pool: Runs,
    ) -> None:
        self._loop = loop
        self._scheduler = scheduler
        self._compiler = compiler
        self._processes = processes
        self._pool = pool
        self.short: dict[Line, None] = {}
        # Processes that frames are held for.
        self._held_for: list[Worker] = []
        # Lines without a job whose process owes the answer to a revocation, and until when.
        self._unanswered: dict[Line, float] = {}
        # For fill_all: while there may be slots and processes for what waits, and when there are none.
        self.spread_us = SPREAD_US if core_count() > 1 else MOST_US
        self.most_us = MOST_US
        self.prefetched_total = 0
        self.revoked_total = 0

    # ---- over to a process -------------------------------------------------------------------------------------------

    def flush_soon(self, worker: Worker) -> None:
        """What is held for a process is written at the end of this dispatch, or of the next."""
        self._held_for.append(worker)
        if not self._pool.is_dispatching:
            self._pool.dispatch_soon()

    def flush(self) -> None:
        """Writes what is held."""
        for worker in self._held_for:
            worker.flush()
        self._held_for.clear()

    def fill_all(self, most_us: int) -> None:
        """Sends what waits for a slot to the processes that run short jobs, as far as they are soon done with it."""
        if self._scheduler.waiting:
            for line in list(self.short):
                if line.job is not None:
                    self.fill(line, line.job, most_us)

    def fill(self, line: Line, job: Job, most_us: int) -> None:
        """Sends a process jobs that may wait there behind `job`, which runs there and is short."""
        worker = line.worker
        # First what is mostly so.
        if not self._scheduler.waiting or worker.is_retired or line.is_revoking or not is_short(job):
            return
        assert job.code is not None
        prefetched = line.prefetched
        before = len(prefetched)
        wait_us = job.code.took_us + RUN_FRAME_US
        size = job.frame_bytes
        for waiting in prefetched:
            assert waiting.code is not None
            wait_us += waiting.code.took_us + RUN_FRAME_US
            size += waiting.frame_bytes
        room = line.room_bytes
        while len(prefetched) < MAX_PREFETCHED and wait_us < most_us and size < room:
            more = self._scheduler.take_behind(job, self._fits_behind)
            if more is None:
                break
            code = self._compiler.known(more.flow)
            assert code is not None  # _fits_behind saw it
            line.prefetch(more, code)
            size += hold_run(more, code, line, is_behind=True)
            wait_us += code.took_us + RUN_FRAME_US
        if len(prefetched) > before:
            self.prefetched_total += len(prefetched) - before
            self.flush_soon(worker)

    def _fits_behind(self, other: Job, job: Job) -> bool:
        code = self._compiler.known(other.flow)
        assert job.line is not None
        half = job.line.room_bytes // 2
        return (
            code is not None
            and code.short_runs >= SHORT_RUNS
            and other.user_name == job.user_name
            and other.limits is job.limits
            and len(other.input_json) < half
            and (code is job.code or len(code.frame) < half)
            and other.isolation == job.isolation != "execution"
        )

    # ---- the process goes on -----------------------------------------------------------------------------------------

    def free(self, job: Job, line: Line, took_us: int) -> None:
        """The current job ended: the process goes on with what waits in it, or is given back.

        `took_us`: the process's own word for it; one that lies makes its own user's jobs wait.
        """
        code = job.code
        if code is not None and not job.calls:
            code.short_runs = code.short_runs + 1 if took_us < SHORT_US else 0
            code.took_us += (min(took_us, SHORT_US) - code.took_us) >> 3
        line.drop(job)
        if line.prefetched:
            self._processes.count_job(line.worker)
            self._begin_next(line)
            return
        self.short.pop(line, None)
        if line.owes_answer and not line.worker.is_retired:
            # Its answer is under way: it gets nothing new before.
            self._unanswered[line] = self._loop.time() + ANSWER_PATIENCE_S
        else:
            self._processes.give_back(line.worker)

    def on_call(self, job: Job) -> None:
        """A job that runs asks for something: its flow is not short, and what waits behind the job is revoked."""
        if job.code is not None:
            job.code.short_runs = 0
        if job.line is not None and job.line.prefetched:
            self.revoke(job.line)

    def _begin_next(self, line: Line) -> None:
        following = line.next()
        self._scheduler.enter(following)
        self._pool.begin(following, line)

    def forget(self, line: Line) -> None:
        """A process is gone, or is about to be ended; what waits in it is queued again when it is gone."""
        self.short.pop(line, None)
        self._unanswered.pop(line, None)

    # ---- and back ----------------------------------------------------------------------------------------------------

    def revoke(self, line: Line) -> None:
        """Revokes what waits in a process behind a job that turned out long.

        The process sends a job's end before it looks for a revocation, and looks before it starts a job that was
        prefetched. So whatever is not ended by a frame that is here once the revocation is in its socket, except the
        job that runs, will never start there: none runs twice. If an end is among those frames, the job behind it may
        have begun before the process could see the revocation, or not: it counts as running until the process answers
        the revocation (`on_revoked`), so that none is lost.
        """
        if line.is_revoking:
            return  # what is read for the sake of one can ask for another
        line.begin_revocation()
        # What is revoked once would be again: nothing more is sent to wait behind this job.
        self.short.pop(line, None)
        worker = line.worker
        worker.send(REVOKE)
        if not worker.has_unsent:
            worker.read_last()
            self.requeue(line)
        line.end_revocation()

    def revoke_late(self, started: Iterable[Job], now: float) -> None:
        """Revokes what waits behind jobs that are not that short after all; for the sweep."""
        for job in list(started):
            line = job.line
            if line is not None and line.prefetched and now - job.started > REVOKE_AFTER_S:
                self.revoke(line)
                self._pool.dispatch()

    def on_revoked(self, line: Line) -> None:
        """A process answers, between two jobs, that it will start nothing that was prefetched before a revocation."""
        if not line.take_answer():
            log.warning("worker %d answered what it was not asked, and was ended", line.worker.number)
            if line.job is not None:
                self._pool.break_protocol(line.job, "it answers a revocation that it was not sent")
            else:
                self._unanswered.pop(line, None)
                self._processes.discard(line.worker)
            return
        self._requeue(line.withdraw_revoked())
        job = line.revoked_job
        if job is not None:
            if job.has_acted:
                # It did start: run again, it would do twice what it has done already, and never reach its limits.
                self._pool.break_protocol(job, "it takes back what it has begun")
                return
            self.short.pop(line, None)
            self._pool.postpone(job, line)
            self.revoked_total += 1
            if line.prefetched:
                self._begin_next(line)
        if line.is_empty and not line.owes_answer:
            self._unanswered.pop(line, None)
            self._processes.give_back(line.worker)
        self._pool.dispatch()

    def requeue(self, line: Line) -> None:
        """What waits in a process, and will not run there to its end, waits in the queue again.

        In a process that is ended for another job's sake the first of it may have begun, or say so. It has done nothing
        yet all the same: what it asks for is done only once it counts as running, and it waits for each answer.
        """
        if line.prefetched:
            self._requeue(line.withdraw())

    def _requeue(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._scheduler.requeue(job)
        self.revoked_total += len(jobs)

    @property
    def is_answered(self) -> bool:
        """Whether no process without a job owes an answer."""
        return not self._unanswered

    def end_silent(self, now: float) -> None:
        """Ends the processes that owe an answer for too long; for the sweep."""
        for line, until in list(self._unanswered.items()):
            if now > until:
                del self._unanswered[line]
                self._processes.discard(line.worker)
