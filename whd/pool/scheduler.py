"""Which job gets the next slot: pure, no clock, no process.

A *slot* is the right to run. There are `slots` of them over all clients; a client that runs nothing gets one at once,
beyond that number, so that nobody waits for a stranger's long flow. Clients take turns within each rank, and a rank
goes before the next: what already runs and wants to go on, then children and restarted executions, then new calls.
Only new calls count against `max_queue`.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable

from ..errors import Overloaded
from .job import Job


class Rank(enum.IntEnum):
    """In which order waiting jobs go."""

    RESUMED = 0
    FIRST = 1
    CALL = 2


_ALL_RANKS = tuple(Rank)
_RESUMED_ONLY = (Rank.RESUMED,)


class Lane:
    """One client's waiting jobs by rank, and how many of its jobs hold a slot."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.waiting: tuple[deque[Job], deque[Job], deque[Job]] = (deque(), deque(), deque())
        self.running = 0

    def count(self) -> int:
        """How many wait, of whatever rank."""
        return sum(map(len, self.waiting))


class Scheduler:
    """Lanes per client, and per rank a ring of the clients that have something waiting."""

    def __init__(self, slots: int, max_queue: int) -> None:
        self.slots = slots
        self.max_queue = max_queue
        self.running = 0
        self.waiting = 0
        # A lane stays once made: making one anew costs more than keeping it, and clients are as many as config/ has.
        self._lanes: dict[str, Lane] = {}
        # Ordered sets of client names; a name whose lane has meanwhile emptied is skipped when its turn comes.
        self._rings: tuple[dict[str, None], dict[str, None], dict[str, None]] = ({}, {}, {})
        self._entitled: dict[str, None] = {}

    def set_limits(self, slots: int, max_queue: int) -> None:
        """The options changed."""
        self.slots = slots
        self.max_queue = max_queue

    def check_queue(self, client_name: str, more: int = 0) -> None:
        """Whether a client may have one more call waiting; `more`: what is about to be added. Raises Overloaded.

        What would find a free slot does not wait.
        """
        lane = self._lanes.get(client_name)
        calls = more + (0 if lane is None else len(lane.waiting[Rank.CALL]))
        if calls >= self.max_queue + max(0, self.slots - self.running):
            raise self._too_many(calls)

    def _too_many(self, calls: int) -> Overloaded:
        return Overloaded(f"{calls} calls of this client are waiting (max_queue)", retry_after_s=self.retry_after_s())

    def retry_after_s(self) -> int:
        """How long a refused caller should wait, guessed from the queue as it stands: whole seconds, at least 1."""
        return 1 + self.waiting // (20 * max(1, self.slots))

    def add(self, job: Job) -> None:
        """Queues a new job; check_queue says whether it may."""
        self._append(job, Rank.FIRST if job.is_first else Rank.CALL)

    def resume(self, job: Job) -> None:
        """Queues a parked job for a slot again, before everything that has not started."""
        self._append(job, Rank.RESUMED)

    def _append(self, job: Job, rank: Rank) -> None:
        lane = self._lanes.get(job.client_name)
        if lane is None:
            lane = self._lanes[job.client_name] = Lane()
        lane.waiting[rank].append(job)
        self._rings[rank][job.client_name] = None
        self.waiting += 1
        if not lane.running:
            self._entitled[job.client_name] = None

    def put_back(self, job: Job) -> None:
        """Returns a job that was taken but could get no process: it gives up its slot and stays its client's next."""
        self.leave(job)
        self.requeue(job)

    def take_behind(self, job: Job, fits: Callable[[Job, Job], bool]) -> Job | None:
        """Its client's next call that is to wait in a process behind a job instead of here: it holds no slot yet.

        Only while nothing of a higher rank waits, and no other client's call does. `fits`: of that call and `job`.
        """
        rings = self._rings
        if rings[Rank.RESUMED] or rings[Rank.FIRST] or len(rings[Rank.CALL]) > 1:
            return None
        calls = self._lanes[job.client_name].waiting[Rank.CALL]
        if not calls or not fits(calls[0], job):
            return None
        self.waiting -= 1
        return calls.popleft()

    def requeue(self, job: Job) -> None:
        """A job that was prefetched waits here again, as its client's next."""
        self._append(job, Rank.FIRST)
        self._lanes[job.client_name].waiting[Rank.FIRST].rotate(1)

    def enter(self, job: Job) -> None:
        """A job that was prefetched runs now: it takes the slot that the one before it leaves."""
        self._lanes[job.client_name].running += 1
        self.running += 1

    def take(self, *, can_start: bool = True) -> Job | None:
        """The next job that may run now, which then holds a slot; None when there is none.

        `can_start`: whether there is a process to be had; without one only what already has its own goes on.
        """
        ranks = _ALL_RANKS if can_start else _RESUMED_ONLY
        if self.running < self.slots:
            for rank in ranks:
                job = self._take_from(rank)
                if job is not None:
                    return job
            return None
        entitled = self._entitled
        skipped = []
        taken = None
        while entitled and taken is None:
            name = _pop_first(entitled)
            lane = self._lanes.get(name)
            if lane is None or lane.running or not lane.count():
                continue
            waiting = next((lane.waiting[rank] for rank in ranks if lane.waiting[rank]), None)
            if waiting is None or not self._may_exceed(name):
                skipped.append(name)
            else:
                taken = self._give_slot(lane, waiting.popleft())
        entitled.update(dict.fromkeys(skipped))
        return taken

    def _may_exceed(self, client_name: str) -> bool:
        """Whether a client that runs nothing here may have a slot beyond their number; asked for each such slot."""
        return True

    def _take_from(self, rank: Rank) -> Job | None:
        ring = self._rings[rank]
        while ring:
            name = _pop_first(ring)
            lane = self._lanes.get(name)
            if lane is None or not lane.waiting[rank]:
                continue  # emptied by a cancel or by an entitled turn
            job = lane.waiting[rank].popleft()
            if lane.waiting[rank]:
                ring[name] = None
            return self._give_slot(lane, job)
        return None

    def _give_slot(self, lane: Lane, job: Job) -> Job:
        lane.running += 1
        self.running += 1
        self.waiting -= 1
        return job

    def leave(self, job: Job) -> None:
        """A job that held a slot ended or parked."""
        lane = self._lanes[job.client_name]
        lane.running -= 1
        self.running -= 1
        if not lane.running and lane.count():
            self._entitled[job.client_name] = None

    def remove(self, job: Job) -> None:
        """Takes a waiting job out (cancelled, drained)."""
        lane = self._lanes[job.client_name]
        next(waiting for waiting in lane.waiting if job in waiting).remove(job)
        self.waiting -= 1

    def running_of(self, client_name: str) -> int:
        """How many of a client's jobs hold a slot."""
        lane = self._lanes.get(client_name)
        return 0 if lane is None else lane.running

    def calls_of(self, client_name: str) -> int:
        """How many of a client's calls wait that max_queue counts."""
        lane = self._lanes.get(client_name)
        return 0 if lane is None else len(lane.waiting[Rank.CALL])

    def waiting_jobs(self) -> list[Job]:
        """All waiting jobs, client by client."""
        return [job for lane in self._lanes.values() for waiting in lane.waiting for job in waiting]


def _pop_first(ring: dict[str, None]) -> str:
    name = next(iter(ring))
    del ring[name]
    return name
