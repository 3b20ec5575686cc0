"""Short jobs wait in a process behind the one that runs there, so that it need not be woken for each.

Such a job is HANDED: it has left the scheduler's queue, holds no place, and takes over the place of the job before it.
When that one turns out long after all, what waits behind it is taken back and waits in the queue again. What is to be
written to the processes is held until the end of a dispatch, so that all that a process gets is one write.
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
from .job import Job, JobState
from .processes import Processes
from .scheduler import Scheduler
from .worker import Worker

log = logging.getLogger("whd.pool")

# What counts as short, how often in a row it must have been, and when what waits behind is taken back after all.
SHORT_US = 1_000
SHORT_RUNS = 8
REVOKE_AFTER_S = 0.01
# How many may wait so, and how long all together may be expected to take: where another process on another core could
# run them at once, about what waking that costs, else what keeps the processes busy.
MAX_HANDED = 32
HANDED_SPREAD_US = 200
HANDED_US = 2_000
# All of it with the job that runs, as much again for the last one, and a revocation fit into the socket's buffer, of
# which it is at most that part: a revocation is never left unsent, else nobody would know what may still begin there.
MAX_HANDED_BYTES = 65_536
HANDED_PART = 4
# Of a job, beside the time that its process tells.
RUN_FRAME_US = 10

# A process that has nothing to do answers at once; one that does not is ended.
ANSWER_PATIENCE_S = 1.0


def is_short(job: Job) -> bool:
    """Whether others may wait behind a job that runs or is about to."""
    return job.code is not None and job.code.short_runs >= SHORT_RUNS and job.isolation != "execution"


def most_bytes(worker: Worker) -> int:
    """How much may wait in a process."""
    return min(MAX_HANDED_BYTES, worker.buffer_bytes // HANDED_PART)


class Runs(Protocol):
    """The pool, as far as handing needs it."""

    is_dispatching: bool

    def begin(self, job: Job, worker: Worker) -> None:
        """A job, which holds a place, is the one that its process runs now."""

    def postpone(self, job: Job) -> None:
        """A job that was thought to run has not begun: it gives up its process and waits again, as the next."""

    def break_protocol(self, job: Job, what: str) -> None:
        """The process that runs a job did what it must not: both end."""

    def dispatch(self) -> None:
        """Gives places to who may have one now."""

    def dispatch_soon(self) -> None:
        """The same, once the loop has gone through what it has read."""


class Prefetch:
    """What waits in processes. The pool tells it which jobs begin and end where; what it does itself goes by Runs.

    `short`: processes that run a short job, which the pool notes when the job begins; free and forget take them out.
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
        self.short: dict[Worker, None] = {}
        # Processes that frames are held for.
        self._held_for: list[Worker] = []
        # Processes without a job that owe the answer to a revocation, and until when.
        self._unanswered: dict[Worker, float] = {}
        # For hand_over: while there may be places and processes for what waits, and when there are none.
        self.spread_us = HANDED_SPREAD_US if core_count() > 1 else HANDED_US
        self.most_us = HANDED_US
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

    def hand_over(self, most_us: int) -> None:
        """Hands what waits for a place to the processes that run short jobs, as far as they are soon done with it."""
        if self._scheduler.waiting:
            for worker in list(self.short):
                if worker.job is not None:
                    self.hand_more(worker.job, worker, most_us)

    def hand_more(self, job: Job, worker: Worker, most_us: int) -> None:
        """Hands over jobs that may wait in the process behind `job`, which runs there and is short."""
        if worker.wants_replacement or worker.is_revoking or not is_short(job) or not self._scheduler.waiting:
            return
        assert job.code is not None
        handed = worker.handed
        before = len(handed)
        wait_us = job.code.took_us + RUN_FRAME_US
        size = job.frame_bytes
        for waiting in handed:
            assert waiting.code is not None
            wait_us += waiting.code.took_us + RUN_FRAME_US
            size += waiting.frame_bytes
        size_limit = most_bytes(worker)
        while len(handed) < MAX_HANDED and wait_us < most_us and size < size_limit:
            more = self._scheduler.take_behind(job, self._fits_behind)
            if more is None:
                break
            code = self._compiler.known(more.flow)
            assert code is not None  # _fits_behind saw it
            more.move(JobState.PREFETCHED)
            more.code, more.worker, more.prefetched_after = code, worker, worker.revokes_sent
            handed.append(more)
            more.frame_bytes = hold_run(more, code, worker, is_behind=True)
            size += more.frame_bytes
            wait_us += code.took_us + RUN_FRAME_US
        if len(handed) > before:
            self.prefetched_total += len(handed) - before
            self.flush_soon(worker)

    def _fits_behind(self, other: Job, job: Job) -> bool:
        code = self._compiler.known(other.flow)
        assert job.worker is not None
        half = most_bytes(job.worker) // 2
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

    def free(self, job: Job, worker: Worker, took_us: int) -> None:
        """A job ended: its process goes on with what waits in it, or is given back.

        `took_us`: the process's own word for it; one that lies makes its own user's jobs wait.
        """
        code = job.code
        if code is not None and not job.calls:
            code.short_runs = code.short_runs + 1 if took_us < SHORT_US else 0
            code.took_us += (min(took_us, SHORT_US) - code.took_us) >> 3
        job.worker = None
        worker.job = None
        if worker.handed:
            worker.jobs_done += 1
            self._begin_next(worker)
            return
        self.short.pop(worker, None)
        if worker.revokes_answered < worker.revokes_sent and not worker.wants_replacement:
            # Its answer is under way: it gets nothing new before.
            self._unanswered[worker] = self._loop.time() + ANSWER_PATIENCE_S
        else:
            self._processes.give_back(worker)

    def _begin_next(self, worker: Worker) -> None:
        following = worker.handed.popleft()
        self._scheduler.enter(following)
        self._pool.begin(following, worker)

    def forget(self, worker: Worker) -> None:
        """A process is gone, or is about to be ended; what waits in it is taken back when it is gone."""
        self.short.pop(worker, None)
        self._unanswered.pop(worker, None)

    # ---- and back ----------------------------------------------------------------------------------------------------

    def revoke(self, worker: Worker) -> None:
        """Takes back what waits in a process behind a job that turned out long.

        The process sends a job's end before it looks for a revocation, and looks before it starts a job that was
        handed behind another. So whatever is not ended by a frame that is here once the revocation is in its socket,
        except the job that runs, will never start there: none runs twice. If an end is among those frames, the job
        behind it may have begun before the process could see the revocation, or not: it counts as running until the
        process answers the revocation (`on_revoked`), so that none is lost.
        """
        if worker.is_revoking:
            return  # what is read for the sake of one can ask for another
        worker.is_revoking = True
        # What is to be taken back once would be again: nothing more is handed over behind this job.
        self.short.pop(worker, None)
        worker.revokes_sent += 1
        worker.send(frame({"op": "revoke"}))
        if not worker.has_unsent:
            worker.read_last()
            self.take_back(worker)
        worker.is_revoking = False

    def revoke_late(self, started: Iterable[Job], now: float) -> None:
        """Takes back what waits behind jobs that are not that short after all; for the sweep."""
        for job in list(started):
            worker = job.worker
            if worker is not None and worker.handed and now - job.started > REVOKE_AFTER_S:
                self.revoke(worker)
                self._pool.dispatch()

    def on_revoked(self, worker: Worker) -> None:
        """A process tells, between two jobs, that it will start nothing that was handed over before a revocation."""
        worker.revokes_answered += 1
        job = worker.job
        if worker.revokes_answered > worker.revokes_sent or (job is not None and job.state is not JobState.RUNNING):
            log.warning("worker %d answered what it was not asked, and was ended", worker.number)
            if job is not None:
                self._pool.break_protocol(job, "it answers a revocation that it was not sent")
            else:
                self._unanswered.pop(worker, None)
                self._processes.discard(worker)
            return
        later = [handed for handed in worker.handed if handed.prefetched_after >= worker.revokes_answered]
        if len(later) < len(worker.handed):
            for _ in later:
                worker.handed.pop()
            self.take_back(worker)
            worker.handed.extend(later)
        if job is not None and 0 <= job.prefetched_after < worker.revokes_answered:
            if job.calls or job.log_lines:
                # It did start: run again, it would do twice what it has done already, and never reach its limits.
                self._pool.break_protocol(job, "it takes back what it has begun")
                return
            self.short.pop(worker, None)
            self._pool.postpone(job)
            self.revoked_total += 1
            if worker.handed:
                self._begin_next(worker)
        if worker.job is None and not worker.handed and worker.revokes_answered == worker.revokes_sent:
            self._unanswered.pop(worker, None)
            self._processes.give_back(worker)
        self._pool.dispatch()

    def take_back(self, worker: Worker) -> None:
        """What waits in a process, and will not run there to its end, waits in the queue again.

        In a process that is ended for another job's sake the first of it may have begun, or say so. It has done nothing
        yet all the same: what it asks for is done only once it counts as running, and it waits for each answer.
        """
        while worker.handed:
            job = worker.handed.pop()
            job.worker = None
            job.move(JobState.QUEUED)
            self._scheduler.take_back(job)
            self.revoked_total += 1

    @property
    def is_answered(self) -> bool:
        """Whether no process without a job owes an answer."""
        return not self._unanswered

    def end_silent(self, now: float) -> None:
        """Ends the processes that owe an answer for too long; for the sweep."""
        for worker, until in list(self._unanswered.items()):
            if now > until:
                del self._unanswered[worker]
                self._processes.discard(worker)
