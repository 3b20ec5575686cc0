"""Locks: one holder at a time, first come first served, gone with the holder; by hand and against a model."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

import pytest

from whd.broker import locks as locks_module
from whd.broker.locks import LockError, Locks


class Clock:
    """Stands in for the loop's timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, int, Timer]] = []
        self._count = 0

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self._count += 1
        heapq.heappush(self.timers, (self.now + delay_s, self._count, timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self.timers)
            if timer.callback is not None:
                timer.callback()
        self.now = end

    @property
    def pending(self) -> int:
        return sum(timer.callback is not None for _, _, timer in self.timers)


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class World:
    """Locks of one client, and what each call was answered, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.locks = Locks(self.clock.call_later)
        self.events: list[tuple[Any, str]] = []

    def acquire(self, holder: Any, name: str = "a", timeout_s: float | None = None, client: str = "acme") -> None:
        def answer(error: LockError | None) -> None:
            self.events.append((holder, "has it" if error is None else error.kind))

        self.locks.acquire(client, name, holder, timeout_s, answer)

    def release(self, holder: Any, name: str = "a") -> bool:
        return self.locks.release("acme", name, holder)

    def take_events(self) -> list[tuple[Any, str]]:
        events, self.events = self.events, []
        return events


@pytest.fixture
def world() -> World:
    return World()


def test_one_has_it_and_the_others_come_in_their_order(world: World) -> None:
    for holder in (1, 2, 3):
        world.acquire(holder)
    assert world.take_events() == [(1, "has it")]
    assert world.release(1)
    assert world.take_events() == [(2, "has it")]
    assert world.release(2)
    assert world.release(3)
    assert world.take_events() == [(3, "has it")]
    assert (world.locks.held, world.locks.waiting, world.clock.pending) == (0, 0, 0)


def test_locks_of_other_names_and_clients_are_other_locks(world: World) -> None:
    world.acquire(1, "a")
    world.acquire(2, "b")
    world.acquire(3, "a", client="other")
    assert world.take_events() == [(1, "has it"), (2, "has it"), (3, "has it")]
    assert world.locks.holder("acme", "b") == 2
    assert world.locks.holder("other", "b") is None


def test_acquiring_what_one_has_is_harmless_and_one_release_gives_it_back(world: World) -> None:
    world.acquire(1)
    world.acquire(1)
    world.acquire(2)
    assert world.take_events() == [(1, "has it"), (1, "has it")]
    assert world.release(1)
    assert world.take_events() == [(2, "has it")]
    assert not world.release(1)


def test_only_the_holder_can_release(world: World) -> None:
    assert not world.release(1)
    world.acquire(1)
    world.acquire(2)
    assert not world.release(2)
    assert world.locks.holder("acme", "a") == 1


def test_who_waits_too_long_is_told_and_loses_his_place(world: World) -> None:
    world.acquire(1)
    world.acquire(2, timeout_s=5)
    world.acquire(3, timeout_s=10)
    world.clock.advance(4.9)
    assert world.take_events() == [(1, "has it")]
    world.clock.advance(0.2)
    assert world.take_events() == [(2, "TimeoutExceededError")]
    world.release(1)
    assert world.take_events() == [(3, "has it")]
    world.clock.advance(100)
    assert world.take_events() == []
    assert world.clock.pending == 0


@pytest.mark.parametrize("timeout_s", [0, -1])
def test_no_time_means_now_or_never(world: World, timeout_s: float) -> None:
    world.acquire(1, timeout_s=timeout_s)
    world.acquire(2, timeout_s=timeout_s)
    assert world.take_events() == [(1, "has it"), (2, "TimeoutExceededError")]
    assert world.clock.pending == 0


def test_the_error_names_lock_and_time() -> None:
    clock = Clock()
    locks = Locks(clock.call_later)
    errors: list[LockError | None] = []
    locks.acquire("acme", "todo", 1, None, errors.append)
    locks.acquire("acme", "todo", 2, 2.5, errors.append)
    clock.advance(3)
    assert [str(error) for error in errors] == ["None", "the lock 'todo' could not be acquired within 2.5 s"]


def test_what_a_holder_has_and_waits_for_goes_with_him(world: World) -> None:
    world.acquire(1, "a")
    world.acquire(1, "b")
    world.acquire(2, "a", timeout_s=5)
    world.acquire(3, "b")
    world.acquire(4, "a")
    world.take_events()
    world.locks.release_all(2)
    world.locks.release_all(1)
    assert sorted(world.take_events()) == [(3, "has it"), (4, "has it")]
    assert (world.locks.holder("acme", "a"), world.locks.holder("acme", "b")) == (4, 3)
    world.clock.advance(10)
    assert world.take_events() == []
    for holder in (3, 4, 5):
        world.locks.release_all(holder)
    assert (world.locks.held, world.locks.waiting, world.clock.pending) == (0, 0, 0)


def test_who_asks_twice_and_waits_does_not_wait_for_himself(world: World) -> None:
    """A worker is hostile: it may ask again while it waits."""
    world.acquire(1)
    world.acquire(2, timeout_s=5)
    world.acquire(3)
    world.acquire(2)
    world.take_events()
    world.release(1)
    assert world.take_events() == [(2, "has it"), (2, "has it")]
    assert world.clock.pending == 0
    world.release(2)
    assert world.take_events() == [(3, "has it")]


def test_a_holder_has_a_bounded_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks_module, "MAX_HELD", 2)
    for name in "abc":
        world.acquire(1, name)
    world.acquire(1, "a")
    assert [text for _, text in world.take_events()] == ["has it", "has it", "CloudomationException", "has it"]
    world.release(1, "a")
    world.acquire(1, "c")
    assert world.take_events() == [(1, "has it")]


class Model:
    """The same, as simple as can be: a list of who asked, the first of whom has it."""

    def __init__(self) -> None:
        self.queues: dict[str, list[tuple[int, float]]] = {}
        self.events: list[tuple[int, str]] = []

    def acquire(self, now: float, holder: int, name: str, timeout_s: float | None) -> None:
        queue = self.queues.setdefault(name, [])
        if not queue or queue[0][0] == holder:
            self.events.append((holder, "has it"))
            if not queue:
                queue.append((holder, 0.0))
        elif timeout_s == 0:
            self.events.append((holder, "TimeoutExceededError"))
        else:
            queue.append((holder, float("inf") if timeout_s is None else now + timeout_s))

    def release(self, holder: int, name: str) -> bool:
        queue = self.queues.get(name)
        if not queue or queue[0][0] != holder:
            return False
        del queue[0]
        self._hand_on(queue)
        return True

    def _hand_on(self, queue: list[tuple[int, float]]) -> None:
        if queue:
            first = queue[0][0]
            mine = [entry for entry in queue if entry[0] == first]
            queue[:] = [mine[0], *(entry for entry in queue if entry[0] != first)]
            self.events += [(first, "has it")] * len(mine)

    def release_all(self, holder: int, names: list[str]) -> None:
        for name in names:
            queue = self.queues.get(name, [])
            had_it = bool(queue) and queue[0][0] == holder
            queue[:] = [entry for entry in queue if entry[0] != holder]
            if had_it:
                self._hand_on(queue)

    def time_out(self, now: float) -> None:
        for queue in self.queues.values():
            for entry in sorted(queue[1:], key=lambda entry: entry[1]):
                if entry[1] <= now:
                    queue.remove(entry)
                    self.events.append((entry[0], "TimeoutExceededError"))


@pytest.mark.parametrize("seed", range(20))
def test_random_sequences_do_what_the_model_does(seed: int) -> None:
    chance = random.Random(seed)
    world, model = World(), Model()
    names = ["a", "b", "c"]
    for _ in range(1_000):
        holder, name = chance.randrange(6), chance.choice(names)
        match chance.randrange(8):
            case 0 | 1 | 2:
                # Times that do not coincide: in which order those were told is nobody's business.
                timeout_s = chance.choice([None, 0, chance.random() * 10])
                world.acquire(holder, name, timeout_s)
                model.acquire(world.clock.now, holder, name, timeout_s)
            case 3 | 4 | 5:
                assert world.release(holder, name) == model.release(holder, name)
            case 6:
                world.locks.release_all(holder)
                model.release_all(holder, names)
            case _:
                world.clock.advance(chance.random() * 3)
                model.time_out(world.clock.now)
        assert sorted(world.take_events()) == sorted(model.events)
        model.events.clear()
        holders = {name: world.locks.holder("acme", name) for name in names}
        assert holders == {name: queue[0][0] if (queue := model.queues.get(name)) else None for name in names}
        assert world.locks.waiting == sum(len(queue[1:]) for queue in model.queues.values())
    for holder in range(6):
        world.locks.release_all(holder)
    assert (world.locks.held, world.locks.waiting, world.clock.pending) == (0, 0, 0)
    assert not world.locks._of
