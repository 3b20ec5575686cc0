"""What runs in one process: the current job, the prefetched ones behind it, the revocations. Nothing here does I/O.

A process runs what it was sent in order, one job at a time. The *current* job runs, or is parked; the *prefetched* ones
were sent while it ran and hold no slot. A *revocation* asks the process to start none of those that it was sent before;
the process answers each, between two jobs. Until it has, nobody knows whether the job behind one that has just ended
was begun: it counts as the current one, and the answer says whether it has to wait in the queue again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .job import NOT_PREFETCHED, Job, JobState

if TYPE_CHECKING:
    from .compiler import Code
    from .worker import Worker

# All that waits in a process with the job that runs, as much again for the last one, and a revocation fit into the
# socket's buffer, of which it is at most that part: a revocation is never left unsent, else nobody would know what may
# still begin there.
MAX_PREFETCHED_BYTES = 65_536
BUFFER_PART = 4


class Line:
    """Of a process that is bound to run flows; it has one for life, `worker.line`.

    Everybody may read it; it is written by its methods, and `codes` and `contexts`, what the process knows by now, by
    frames_out.py.
    """

    __slots__ = (
        "codes", "contexts", "is_revoking", "job", "prefetched", "revokes_answered", "revokes_sent", "room_bytes",
        "worker",
    )  # fmt: skip

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        worker.line = self
        self.job: Job | None = None
        # In the order in which they are to run.
        self.prefetched: deque[Job] = deque()
        # How much may wait there.
        self.room_bytes = min(MAX_PREFETCHED_BYTES, worker.buffer_bytes // BUFFER_PART)
        # Whether a revocation is being sent just now.
        self.is_revoking = False
        self.revokes_sent = 0
        self.revokes_answered = 0
        self.codes: set[tuple[str, str, str]] = set()
        self.contexts: set[int] = set()

    # ---- jobs come and go --------------------------------------------------------------------------------------------

    def start(self, job: Job, code: Code) -> None:
        """A job becomes the current one of a process that has nothing to do."""
        assert self.job is None
        assert not self.prefetched
        job.line, job.code, job.revokes_before = self, code, NOT_PREFETCHED
        self.job = job

    def prefetch(self, job: Job, code: Code) -> None:
        """A job is sent along, to run after the current one and those that are prefetched already."""
        assert self.job is not None
        job.move(JobState.PREFETCHED)
        job.line, job.code, job.revokes_before = self, code, self.revokes_sent
        self.prefetched.append(job)

    def next(self) -> Job:
        """The first prefetched job becomes the current one."""
        assert self.job is None
        job = self.job = self.prefetched.popleft()
        return job

    def drop(self, job: Job) -> None:
        """A job has left the process, or is over."""
        assert job.line is self
        job.line = None
        if job is self.job:
            self.job = None
        else:
            self.prefetched.remove(job)

    def withdraw(self) -> list[Job]:
        """All prefetched jobs, the last one first: they are queued again."""
        return self._withdraw(len(self.prefetched))

    def _withdraw(self, count: int) -> list[Job]:
        """The first so many of them, the last one first."""
        jobs = [self.prefetched.popleft() for _ in range(count)]
        jobs.reverse()
        for job in jobs:
            job.line = None
            job.move(JobState.QUEUED)
        return jobs

    @property
    def is_empty(self) -> bool:
        """Whether the process has nothing to run."""
        return self.job is None and not self.prefetched

    # ---- revocations -------------------------------------------------------------------------------------------------

    def begin_revocation(self) -> None:
        """A revocation is about to be sent, and what the process has sent until then read."""
        self.is_revoking = True
        self.revokes_sent += 1

    def end_revocation(self) -> None:
        """The revocation is sent; what comes now can ask for another."""
        self.is_revoking = False

    @property
    def owes_answer(self) -> bool:
        """Whether a revocation is not answered yet."""
        return self.revokes_answered < self.revokes_sent

    def take_answer(self) -> bool:
        """The process answered a revocation; False if it cannot have: none is open, or its current job waits for us."""
        self.revokes_answered += 1
        return self.revokes_answered <= self.revokes_sent and (self.job is None or self.job.state is JobState.RUNNING)

    def withdraw_revoked(self) -> list[Job]:
        """The prefetched jobs that a revocation which has been answered was for, the last one first."""
        return self._withdraw(sum(job.revokes_before < self.revokes_answered for job in self.prefetched))

    @property
    def revoked_job(self) -> Job | None:
        """The current job, if a revocation which has been answered was for it: it has not begun after all."""
        job = self.job
        return job if job is not None and 0 <= job.revokes_before < self.revokes_answered else None
