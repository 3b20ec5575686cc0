"""The slots (option `workers`) over all fronts: the hub leases them, a front runs no more than its lease. No I/O.

Each front has its share at hand, so that an ordinary call asks nobody. A front whose jobs wait says how many it could
use; the hub takes from those who do not need theirs, and gives only what has come back: the leases never add up to more
than there are. What the scheduler gives a client beyond the slots, one if it runs nothing, the hub permits while all
slots are in use, after it has asked the other fronts whether the client runs something there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ..pool.job import Job
from ..pool.scheduler import Lane, Rank, Scheduler
from .counters import MAX_CLIENTS, Count, Counters
from .partition import fair_slots

# How long what a front wanted stays wanted: long enough that a burst between two looks is not forgotten.
RETHINK_S: Final = 0.05
# After a refusal, when a client that runs nothing may be asked for again.
ASK_AGAIN_S: Final = 0.1


# Front, slots, the number of this message.
LeaseGrant = tuple[int, int, int]


@dataclass(slots=True)
class _Lease:
    wants: int = 0
    # The lease it has been sent, the number of that message, and what it may still be using.
    sent: int = 0
    number: int = 0
    held: int = 0


class SlotLeases:
    """The hub's side. Each method gives the leases that are to be sent: (front, slots, the number of this message)."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._first = 0
        self._leases: dict[int, _Lease] = {}

    @property
    def total(self) -> int:
        """All slots."""
        return self._total

    def set_total(self, total: int) -> list[LeaseGrant]:
        """The option changed."""
        self._total = total
        return self._divide()

    def join(self, front: int) -> list[LeaseGrant]:
        """A front serves from now on."""
        self._leases[front] = _Lease()
        return self._divide()

    def leave(self, front: int) -> list[LeaseGrant]:
        """A front is gone, and what ran in it with it. Harmless for one that never joined."""
        self._leases.pop(front, None)
        return self._divide()

    def report(self, front: int, *, wants: int, held: int, number: int) -> list[LeaseGrant]:
        """A front says what it could use, and what it uses or may use since lease message `number` reached it."""
        lease = self._leases.get(front)
        if lease is None:
            return []
        lease.wants = wants
        if number == lease.number:
            # Else it did not know of its present lease yet when it said so, and says it again.
            lease.held = max(held, lease.sent)
        return self._divide()

    def rotate(self) -> list[LeaseGrant]:
        """Called now and then: with fewer slots than fronts that want some, those without one have their turn."""
        leases = self._leases.values()
        if self._total >= len(leases) or all(lease.sent or not lease.wants for lease in leases):
            return []
        if any(lease.held > lease.sent for lease in leases):
            return []  # what ran in the last turn has not ended yet
        self._first += 1
        return self._divide()

    def _divide(self) -> list[LeaseGrant]:
        wanted = {front: lease.wants for front, lease in self._leases.items()}
        targets = fair_slots(self._total, wanted, self._first)
        news: set[int] = set()
        for front, lease in self._leases.items():
            if targets[front] < lease.sent:
                lease.sent = targets[front]
                news.add(front)
        free = self._total - sum(lease.held for lease in self._leases.values())
        for front, lease in self._leases.items():
            # What it still holds of an earlier lease it may keep, whatever the others hold.
            more = min(targets[front] - lease.sent, max(0, free) + lease.held - lease.sent)
            if more > 0:
                lease.sent += more
                free -= max(0, lease.sent - lease.held)
                lease.held = max(lease.held, lease.sent)
                news.add(front)
        for front in news:
            self._leases[front].number += 1
        return [(front, self._leases[front].sent, self._leases[front].number) for front in sorted(news)]


# Whether a client runs something in the fronts that were asked, and how much runs there in all.
Used = tuple[bool, int]


class PermitQueue:
    """The hub's answers to fronts that ask for a client's slot beyond the number, one question of a client at a time:
    the front that got a permit knows of it before the next one's question is asked.

    A slot is permitted while other clients use all that there are: what is free, the front gets as part of its lease.
    That is decided by what each front says at one moment of what it runs of this client and of others; so a client that
    is alone never has more than the slots, however old the answers are. `ask_others(front, client_name, answered)`
    asks all fronts but one; `places` gives the number.
    """

    def __init__(
        self, ask_others: Callable[[int, str, Callable[[Used], None]], None], slots: Callable[[], int]
    ) -> None:
        self._ask_others = ask_others
        self._slots = slots
        self._open: dict[str, deque[tuple[int, int, Callable[[bool], None]]]] = {}

    def ask(self, front: int, client_name: str, running: int, answer: Callable[[bool], None]) -> None:
        """`running`: how much runs in `front`, none of it the client's. `answer` is called once."""
        questions = self._open.setdefault(client_name, deque())
        questions.append((front, running, answer))
        if len(questions) == 1:
            self._next(client_name)

    def _next(self, client_name: str) -> None:
        self._ask_others(self._open[client_name][0][0], client_name, lambda used: self._answer(client_name, *used))

    def _answer(self, client_name: str, has_slot: bool, running_of_others: int) -> None:
        questions = self._open[client_name]
        _front, running, answer = questions.popleft()
        answer(not has_slot and running + running_of_others >= self._slots())
        if questions:
            self._next(client_name)
        else:
            del self._open[client_name]


class SlotSupervisor(Protocol):
    """Where a front's scheduler asks: the hub."""

    def report_slots(self, *, wants: int, held: int, number: int) -> None:
        """What SlotLeases.report takes: what this front could use, and what it uses or may use."""

    def ask_permit(self, client_name: str, running: int, answered: Callable[[bool], None]) -> None:
        """Asks PermitQueue for one slot beyond the number; `answered` is called once."""


class LeasedScheduler(Scheduler):
    """A front's scheduler: `slots` is its lease; a client's waiting calls are counted with the other fronts'."""

    def __init__(
        self,
        supervisor: SlotSupervisor,
        call_later: Callable[..., object],
        counters: Counters,
        front: int,
        client_numbers: dict[str, int],
    ) -> None:
        """`client_numbers` grows; see counters.py. The lease is 0 until the hub says otherwise.

        `look_again`: what to call when more may run. `accepting`: how many of a client's calls are being written down.
        """
        super().__init__(0, 0)
        self.look_again: Callable[[], None] = _nothing
        self.accepting: Callable[[str], int] = _none
        self._supervisor = supervisor
        self._call_later = call_later
        self._counters = counters
        self._front = front
        self._client_numbers = client_numbers
        # All slots, over all fronts.
        self._total = 0
        self._held = 0
        self._number = 0
        self._reported_wants = 0
        self._peak = 0
        self._is_rethinking = False
        self._is_giving_back = False
        self._permitted_client = ""
        self._asked: set[str] = set()
        # Whose waiting calls the others see.
        self._published: set[str] = set()

    def set_limits(self, slots: int, max_queue: int) -> None:
        """The options changed; the lease follows from the hub."""
        self._total = slots
        self.max_queue = max_queue

    def set_lease(self, slots: int, number: int) -> None:
        """The hub's word. What runs beyond it ends in its own time."""
        self._held = max(slots, min(self.running, self._held))
        self.slots, self._number = slots, number
        # Always: what was said under an earlier number does not count.
        self._report()
        self.look_again()

    def take(self, *, can_start: bool = True) -> Job | None:
        """Reports to the hub what this front could use when a job is left waiting for want of a slot."""
        job = super().take(can_start=can_start)
        if job is None and self.waiting and self.running >= self.slots:
            self._want(self.running + self.waiting)
        return job

    def leave(self, job: Job) -> None:
        """Gives a slot beyond the lease back to the hub."""
        super().leave(job)
        self._counters.set(self._front, Count.RUNNING, self.running)
        if self._held > self.slots and self.running < self._held and not self._is_giving_back:
            # Not at once: a job that waited with a process may be about to take over the slot.
            self._is_giving_back = True
            self._call_later(0, self._give_back)

    def _give_back(self) -> None:
        self._is_giving_back = False
        held = max(self.slots, min(self.running, self._held))
        if held < self._held:
            self._held = held
            self._report()

    def _want(self, wants: int) -> None:
        self._peak = max(self._peak, min(wants, self._total))
        if self._peak > self._reported_wants:
            self._report()
        if not self._is_rethinking:
            self._is_rethinking = True
            self._call_later(RETHINK_S, self._rethink)

    def _rethink(self) -> None:
        """Fewer may be wanted by now."""
        peak, self._peak = self._peak, min(self.running + self.waiting, self._total)
        self._is_rethinking = peak > 0 or self._reported_wants > 0
        if self._is_rethinking:
            self._call_later(RETHINK_S, self._rethink)
        if peak != self._reported_wants:
            self._reported_wants = peak
            self._supervisor.report_slots(wants=peak, held=self._held, number=self._number)

    def _report(self) -> None:
        self._reported_wants = max(self._reported_wants, self._peak)
        self._supervisor.report_slots(wants=self._reported_wants, held=self._held, number=self._number)

    def _may_exceed(self, client_name: str) -> bool:
        if client_name == self._permitted_client:
            self._permitted_client = ""
            return True
        if client_name not in self._asked:
            self._asked.add(client_name)
            self._supervisor.ask_permit(client_name, self.running, lambda may: self._on_permit(client_name, may))
        return False

    def _on_permit(self, client_name: str, may: bool) -> None:
        if may:
            self._asked.discard(client_name)
            # For this moment alone: what is not used now is asked for again.
            self._permitted_client = client_name
            self.look_again()
            self._permitted_client = ""
        else:
            self._call_later(ASK_AGAIN_S, lambda: self._ask_again(client_name))

    def _ask_again(self, client_name: str) -> None:
        self._asked.discard(client_name)
        self.look_again()

    def used(self, client_name: str) -> Used:
        """Whether the client runs something here, and how much runs here in all: what PermitQueue asks."""
        return self.running_of(client_name) > 0, self.running

    def check_queue(self, client_name: str, more: int = 0) -> None:
        """Counts the client's calls over all fronts. Raises Overloaded."""
        number = self._client_numbers.get(client_name, MAX_CLIENTS)
        of_others = self._counters.calls_of_others(self._front, number) if number < MAX_CLIENTS else 0
        calls = self.calls_of(client_name) + more + of_others
        if calls >= self.max_queue + max(0, self._total - self._counters.total(Count.RUNNING)):
            raise self._too_many(calls)
        self._publish_calls(client_name, 1)

    # ---- what the others see -----------------------------------------------------------------------------------------

    def _publish_calls(self, client_name: str, more: int = 0) -> None:
        number = self._client_numbers.get(client_name, MAX_CLIENTS)
        if number < MAX_CLIENTS:
            calls = self.calls_of(client_name) + self.accepting(client_name) + more
            self._counters.set_calls(self._front, number, calls)
            if calls:
                self._published.add(client_name)
            else:
                self._published.discard(client_name)

    def publish(self) -> None:
        """Called now and then: publishes what has not been published since it changed."""
        self._counters.set(self._front, Count.WAITING, self.waiting)
        for client_name in tuple(self._published):
            self._publish_calls(client_name)

    def _append(self, job: Job, rank: Rank) -> None:
        super()._append(job, rank)
        self._publish_calls(job.client_name)

    def _give_slot(self, lane: Lane, job: Job) -> Job:
        super()._give_slot(lane, job)
        self._counters.set(self._front, Count.RUNNING, self.running)
        self._publish_calls(job.client_name)
        return job

    def take_behind(self, job: Job, fits: Callable[[Job, Job], bool]) -> Job | None:
        """None while slots are to be given back."""
        if self.running > self.slots:
            return None
        taken = super().take_behind(job, fits)
        if taken is not None:
            self._publish_calls(job.client_name)
        return taken

    def enter(self, job: Job) -> None:
        super().enter(job)
        self._counters.set(self._front, Count.RUNNING, self.running)

    def remove(self, job: Job) -> None:
        super().remove(job)
        self._publish_calls(job.client_name)


def _nothing() -> None:
    return None


def _none(_client_name: str) -> int:
    return 0
