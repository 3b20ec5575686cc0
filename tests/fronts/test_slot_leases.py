"""The places over all fronts, in a simulated daemon: a clock and links of our own, messages that take their time.

Each seed is another order of events. What must hold at every moment: no more runs than there are places, but for one of
each client that was permitted while it ran nothing. And in the end: everything has run.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from whd.fronts.counters import Counters
from whd.fronts.leases import LeasedScheduler, PermitQueue, SlotLeases, Used
from whd.pool.job import Job

ROTATE_S = 0.05


@dataclass(eq=False)
class FakeJob:
    """What a scheduler looks at."""

    client_name: str
    length_s: float
    is_first: bool = False
    is_beyond: bool = False


@dataclass
class Clock:
    now: float = 0.0
    _calls: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._calls, (self.now + delay_s, self._count, call))

    def run(self, until: float) -> None:
        while self._calls and self._calls[0][0] <= until:
            self.now, _, call = heapq.heappop(self._calls)
            call()
        self.now = until


class Way:
    """One direction of a link: in order, each message some time after the one before."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._free_at = 0.0

    def send(self, call: Callable[[], None]) -> None:
        clock = self._daemon.clock
        self._free_at = max(self._free_at, clock.now) + self._daemon.random.uniform(0.0, 0.002)
        clock.call_later(self._free_at - clock.now, call)


class SimulatedFront:
    """A front's scheduler with a pool that has a process for every job; also its PlaceOffice."""

    def __init__(self, daemon: Daemon, number: int) -> None:
        self.daemon = daemon
        self.number = number
        self.up, self.down = Way(daemon), Way(daemon)
        self.scheduler = LeasedScheduler(self, daemon.clock.call_later, daemon.counters, number, {})
        self.scheduler.set_limits(daemon.slots, 1_000)
        self.scheduler.look_again = self.dispatch

    def submit(self, job: FakeJob) -> None:
        self.scheduler.add(cast(Job, job))
        self.dispatch()

    def dispatch(self) -> None:
        while (taken := self.scheduler.take()) is not None:
            job = cast(FakeJob, taken)
            job.is_beyond = self.scheduler.running > self.scheduler.slots
            self.daemon.started(job)
            self.daemon.clock.call_later(job.length_s, lambda job=job: self.end(job))  # type: ignore[misc]

    def end(self, job: FakeJob) -> None:
        self.scheduler.leave(cast(Job, job))
        self.daemon.ended(job)
        self.dispatch()

    def report_slots(self, *, wants: int, held: int, number: int) -> None:
        leases = self.daemon.leases
        self.up.send(lambda: self.daemon.send(leases.report(self.number, wants=wants, held=held, number=number)))

    def ask_permit(self, client_name: str, running: int, answered: Callable[[bool], None]) -> None:
        def answer(may: bool) -> None:
            self.down.send(lambda: answered(may))

        self.up.send(lambda: self.daemon.permits.ask(self.number, client_name, running, answer))


class Daemon:
    """Hub and fronts."""

    def __init__(self, seed: int, fronts: int, slots: int) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.slots = slots
        self.counters = Counters.create(fronts)
        self.leases = SlotLeases(slots)
        self.permits = PermitQueue(self.ask_others, lambda: self.slots)
        self.running: deque[FakeJob] = deque()
        self.most: dict[str, int] = {}
        self.done = 0
        self.fronts = [SimulatedFront(self, number) for number in range(fronts)]
        for front in self.fronts:
            self.send(self.leases.join(front.number))
        self._rotate()

    def _rotate(self) -> None:
        self.send(self.leases.rotate())
        self.clock.call_later(ROTATE_S, self._rotate)

    def send(self, grants: list[tuple[int, int, int]]) -> None:
        for number, slots, grant in grants:
            front = self.fronts[number]
            front.down.send(lambda f=front, p=slots, t=grant: f.scheduler.set_lease(p, t))  # type: ignore[misc]

    def ask_others(self, front: int, client_name: str, answered: Callable[[Used], None]) -> None:
        others = [other for other in self.fronts if other.number != front]
        answers: list[Used] = []

        def one(used: Used) -> None:
            answers.append(used)
            if len(answers) == len(others):
                answered((any(has_slot for has_slot, _ in answers), sum(running for _, running in answers)))

        for other in others:

            def ask(other: SimulatedFront = other) -> None:
                used = other.scheduler.used(client_name)
                other.up.send(lambda: one(used))

            other.down.send(ask)

    def started(self, job: FakeJob) -> None:
        self.running.append(job)
        clients = [other.client_name for other in self.running]
        client = job.client_name
        self.most[client] = max(self.most.get(client, 0), clients.count(client))
        beyond = [other.client_name for other in self.running if other.is_beyond]
        assert len(self.running) - len(beyond) <= self.slots
        assert len(beyond) == len(set(beyond)), "a client has two places beyond the number"

    def ended(self, job: FakeJob) -> None:
        self.running.remove(job)
        self.done += 1


SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_more_run_than_there_are_places_and_all_run(seed: int) -> None:
    draw = random.Random(seed)
    daemon = Daemon(seed, draw.randint(2, 5), draw.randint(1, 8))
    total = 0
    for _ in range(draw.randint(1, 6)):
        # A burst, on some of the fronts; then a pause, in which leases move.
        fronts = draw.sample(daemon.fronts, draw.randint(1, len(daemon.fronts)))
        for _ in range(draw.randint(1, 60)):
            total += 1
            front, job = draw.choice(fronts), FakeJob(draw.choice("abc"), draw.choice((0.0005, 0.005, 0.05)))
            daemon.clock.call_later(draw.uniform(0, 0.05), lambda f=front, j=job: f.submit(j))  # type: ignore[misc]
        daemon.clock.run(daemon.clock.now + draw.uniform(0, 0.5))
    daemon.clock.run(daemon.clock.now + 60.0)
    assert daemon.done == total


@pytest.mark.parametrize("seed", SEEDS)
def test_one_client_alone_never_runs_more_than_there_are_places(seed: int) -> None:
    draw = random.Random(seed)
    daemon = Daemon(seed, draw.randint(2, 4), draw.randint(1, 6))
    for _ in range(200):
        front, job = draw.choice(daemon.fronts), FakeJob("a", draw.choice((0.001, 0.02)))
        daemon.clock.call_later(draw.uniform(0, 2.0), lambda f=front, j=job: f.submit(j))  # type: ignore[misc]
    daemon.clock.run(60.0)
    assert daemon.done == 200
    assert daemon.most["a"] <= daemon.slots


@pytest.mark.parametrize("fronts", [2, 3, 8])
def test_all_places_go_to_the_one_front_that_wants_them(fronts: int) -> None:
    daemon = Daemon(1, fronts, 8)
    for _ in range(50):
        daemon.fronts[-1].submit(FakeJob("a", 1.0))
    daemon.clock.run(0.9)
    assert len(daemon.running) == 8


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_long_jobs_of_one_front_do_not_keep_the_others_waiting_for_ever(slots: int) -> None:
    daemon = Daemon(2, 4, slots)
    for _ in range(400):
        daemon.fronts[0].submit(FakeJob("a", 0.2))
    daemon.clock.run(1.0)
    others = [FakeJob("a", 0.01) for _ in range(3)]
    for front, job in zip(daemon.fronts[1:], others, strict=True):
        front.submit(job)
    began = daemon.clock.now
    while any(
        job in daemon.running or front.scheduler.waiting for front, job in zip(daemon.fronts[1:], others, strict=True)
    ):
        daemon.clock.run(daemon.clock.now + 0.01)
        assert daemon.clock.now < began + 10.0


def test_a_front_that_is_gone_leaves_its_places_to_the_others() -> None:
    daemon = Daemon(3, 2, 4)
    for _ in range(10):
        daemon.fronts[0].submit(FakeJob("a", 1000.0))
    daemon.clock.run(1.0)
    assert daemon.fronts[0].scheduler.running == 4
    daemon.send(daemon.leases.leave(0))
    daemon.clock.run(1.1)
    assert daemon.fronts[1].scheduler.slots == 4


def _numbers(told: Any) -> dict[int, int]:
    return {front: slots for front, slots, _ in told}


def test_more_places_than_before_are_given_out_and_fewer_taken_back() -> None:
    leases = SlotLeases(4)
    leases.join(0)
    leases.join(1)
    assert sum(_numbers(leases.set_total(10)).values()) == 10
    assert _numbers(leases.set_total(2)) == {0: 1, 1: 1}
