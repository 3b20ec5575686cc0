"""Slots, turns and ranks, without a process."""

from __future__ import annotations

import random

import pytest

from whd.errors import Overloaded
from whd.model.options import Options
from whd.model.snapshot import Flow
from whd.pool.job import Job
from whd.pool.scheduler import Scheduler

FLOW = Flow("c", "f", "", "", "")


def job(client: str, *, is_first: bool = False) -> Job:
    return Job(client, "u", FLOW, Options(), "user", b"{}", "id", 0, "", None, is_first=is_first)  # type: ignore[arg-type]


def take_all(scheduler: Scheduler) -> list[Job]:
    taken = []
    while (one := scheduler.take()) is not None:
        taken.append(one)
    return taken


def test_no_more_than_the_slots_of_one_client_run() -> None:
    scheduler = Scheduler(2, 100)
    jobs = [job("a") for _ in range(5)]
    for one in jobs:
        scheduler.add(one)
    assert take_all(scheduler) == jobs[:2]
    scheduler.leave(jobs[0])
    assert take_all(scheduler) == jobs[2:3]
    assert scheduler.waiting == 2


def test_clients_take_turns() -> None:
    scheduler = Scheduler(100, 100)
    for client in "aaabbc":
        scheduler.add(job(client))
    assert [one.client_name for one in take_all(scheduler)] == ["a", "b", "c", "a", "b", "a"]


def test_a_client_that_runs_nothing_gets_a_slot_beyond_the_number() -> None:
    scheduler = Scheduler(1, 100)
    long, other, second = job("a"), job("b"), job("b")
    for one in (long, other, second):
        scheduler.add(one)
    assert take_all(scheduler) == [long, other]
    scheduler.leave(other)
    assert take_all(scheduler) == [second]


def test_resumed_before_first_before_calls() -> None:
    scheduler = Scheduler(1, 100)
    running, call, first, resumed = job("a"), job("a"), job("a", is_first=True), job("a")
    scheduler.add(running)
    assert take_all(scheduler) == [running]
    scheduler.add(call)
    scheduler.add(first)
    scheduler.resume(resumed)
    order = []
    now = running
    while True:
        scheduler.leave(now)
        taken = take_all(scheduler)
        if not taken:
            break
        (now,) = taken
        order.append(now)
    assert order == [resumed, first, call]


def test_the_queue_of_calls_is_bounded_per_client() -> None:
    scheduler = Scheduler(1, 2)
    scheduler.check_queue("a", more=2)
    with pytest.raises(Overloaded):
        scheduler.check_queue("a", more=3)
    for _ in range(3):
        scheduler.check_queue("a")
        scheduler.add(job("a"))
        take_all(scheduler)
    with pytest.raises(Overloaded) as caught:
        scheduler.check_queue("a")
    assert caught.value.headers[0][0] == b"retry-after"
    scheduler.check_queue("b")


def test_first_ones_do_not_count_against_the_queue() -> None:
    scheduler = Scheduler(1, 1)
    for _ in range(5):
        scheduler.add(job("a", is_first=True))
    scheduler.check_queue("a")


def test_put_back_stays_next_and_gives_up_its_slot() -> None:
    scheduler = Scheduler(1, 100)
    first, second = job("a"), job("a")
    scheduler.add(first)
    scheduler.add(second)
    assert scheduler.take() is first
    scheduler.put_back(first)
    assert scheduler.running == 0
    assert scheduler.take(can_start=False) is None
    assert scheduler.take() is first


def test_without_processes_only_resumed_ones_go_on() -> None:
    scheduler = Scheduler(1, 100)
    call, resumed = job("a"), job("a")
    scheduler.add(call)
    scheduler.resume(resumed)
    assert scheduler.take(can_start=False) is resumed


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_keeps_the_promises(seed: int) -> None:
    """Nothing is lost, nobody runs twice, the slots hold, and what waits while a slot is free does not exist."""
    choose = random.Random(seed)
    scheduler = Scheduler(3, 1_000)
    waiting: set[Job] = set()
    running: set[Job] = set()
    parked: set[Job] = set()
    for _ in range(2_000):
        action = choose.random()
        if action < 0.4:
            one = job(choose.choice("abcde"), is_first=choose.random() < 0.2)
            scheduler.add(one)
            waiting.add(one)
        elif action < 0.6 and running:
            one = choose.choice(sorted(running, key=id))
            scheduler.leave(one)
            running.discard(one)
            if choose.random() < 0.5:
                parked.add(one)
        elif action < 0.7 and parked:
            one = parked.pop()
            scheduler.resume(one)
            waiting.add(one)
        elif action < 0.75 and waiting:
            one = waiting.pop()
            scheduler.remove(one)
        for one in take_all(scheduler):
            assert one in waiting
            waiting.discard(one)
            running.add(one)
        assert scheduler.waiting == len(waiting) == len(scheduler.waiting_jobs())
        assert scheduler.running == len(running)
        clients = {one.client_name for one in running}
        assert len(running) <= 3 + len(clients)
        assert not waiting or len(running) >= 3
        assert not {one.client_name for one in waiting} - clients


def test_a_cancelled_one_does_not_disturb_the_turns() -> None:
    scheduler = Scheduler(1, 100)
    one, two = job("a"), job("a")
    scheduler.add(one)
    scheduler.add(two)
    scheduler.remove(one)
    assert take_all(scheduler) == [two]
    scheduler.leave(two)
    assert scheduler.waiting == 0
    assert take_all(scheduler) == []
