"""The parts of several fronts that need no process: who owns what, leases of places, records on the way."""

from __future__ import annotations

import random

import pytest

from whd.auth.permissions import PermissionDenied
from whd.errors import SaveRefused, StateError, WhdError
from whd.fronts.counters import Count, Counters, SharedBudget
from whd.fronts.leases import SlotLeases
from whd.fronts.partition import MAX_FRONTS, fair_slots, front_count, front_options, owner, share
from whd.fronts.records import DeniedInHub, error_member, pack, read_error, read_stored, stored_members, unpack
from whd.model.execution import Cause, Execution, Status
from whd.model.options import Options
from whd.store.interface import Stored
from whd.store.rows import to_row


def execution(number: int) -> Execution:
    return Execution(
        id=f"0198{number:04x}-0000-7000-8000-000000000001",
        client_name="acme",
        flow_name="flow",
        user_name="kevin",
        script_hash="h",
        input_json=b'{"a":"\xc3\xa4"}' * number,
        output_json=b"[1]",
        status=Status.ENDED_ERROR,
        cause=Cause.TIMEOUT,
        message="\u00fcber",
        log=[b"[1]", b"", b"[2]"][:number],
        created_ms=5,
    )


def test_records_come_out_of_a_frame_as_they_went_in() -> None:
    rows = [to_row(execution(number)) for number in range(4)]
    heads, value = pack(rows)
    assert unpack(heads, value) == rows
    assert pack([]) == ([], b"")


def test_a_record_as_an_answer() -> None:
    stored = Stored(execution(2), "source")
    members, value = stored_members(stored)
    found = read_stored(members, value)
    assert found is not None
    assert (to_row(found.execution), found.script) == (to_row(stored.execution), "source")
    assert read_stored(*stored_members(None)) is None
    with pytest.raises(StateError):
        read_stored({"error": error_member(StateError("the disk"))}, None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(SaveRefused("InvalidInputError", "no"), SaveRefused), (DeniedInHub("no"), PermissionDenied)]
    + [(StateError("no", log_detail="of /x"), StateError)],
)
def test_errors_come_back_as_what_they_were(error: WhdError, kind: type[WhdError]) -> None:
    again = read_error(error_member(error))
    assert isinstance(again, kind)
    assert (again.detail, again.log_detail) == (error.detail, error.log_detail)
    assert getattr(again, "kind", "") == getattr(error, "kind", "")


def test_how_many_fronts_there_are() -> None:
    # By cores: one for every two, at least one, at most eight.
    for cores, fronts in ((1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (15, 7), (16, 8), (18, 8), (256, 8)):
        assert front_count(Options(), cores) == front_count(Options(processes=0), cores) == fronts
    assert front_count(Options(max_workers=9), 64) == 2
    for cores in (1, 64):
        assert front_count(Options(processes=1), cores) == 1
        assert front_count(Options(processes=3), cores) == 3
        assert front_count(Options(processes=1_000), cores) == MAX_FRONTS
        assert front_count(Options(processes=8, max_workers=9), cores) == 2
        assert front_count(Options(processes=8, max_workers=2), cores) == 1


def test_shares_add_up() -> None:
    for fronts in range(1, 9):
        for total in range(20):
            assert sum(share(total, front, fronts) for front in range(fronts)) == total
        parts = [front_options(Options(), front, fronts) for front in range(fronts)]
        assert sum(part.max_idle_workers for part in parts) == Options().max_idle_workers
        assert all(part.spare_workers >= 1 for part in parts)
        assert all(part.max_workers == Options().max_workers for part in parts)


def test_every_id_has_an_owner() -> None:
    assert owner("0198aaaa-0000-7000-8000-000000000003", 2) == 1
    assert owner("0198aaaa-0000-7000-8000-000000000003", 3) == 0
    assert owner("no id", 2) == 0


def test_places_are_divided_fairly() -> None:
    assert fair_slots(4, {0: 0, 1: 0}) == {0: 2, 1: 2}
    assert fair_slots(4, {0: 4, 1: 0}) == {0: 4, 1: 0}
    assert fair_slots(4, {0: 9, 1: 1}) == {0: 3, 1: 1}
    assert fair_slots(1, {0: 1, 1: 1}) == {0: 1, 1: 0}
    assert fair_slots(1, {0: 1, 1: 1}, first=1) == {0: 0, 1: 1}
    assert fair_slots(3, {}) == {}


class Holder:
    """A front as the hub's leases see one: it uses any number of places up to what it may."""

    def __init__(self) -> None:
        self.places = self.number = self.running = 0
        self.said: list[tuple[int, int, int]] = []

    def say(self, wants: int) -> None:
        self.said.append((wants, max(self.places, self.running), self.number))


@pytest.mark.parametrize("seed", range(20))
def test_leases_never_add_up_to_more_than_there_are(seed: int) -> None:
    """Whatever is said in which order, with words on their way in both directions."""
    chance = random.Random(seed)
    total = chance.randint(1, 6)
    leases = SlotLeases(total)
    fronts: dict[int, Holder] = {}
    coming: dict[int, list[tuple[int, int]]] = {}

    def tell(told: list[tuple[int, int, int]]) -> None:
        for front, places, number in told:
            coming[front].append((places, number))

    for _ in range(2_000):
        front = chance.randrange(3)
        if front not in fronts:
            fronts[front], coming[front] = Holder(), []
            tell(leases.join(front))
            continue
        holder = fronts[front]
        step = chance.random()
        if step < 0.01:
            del fronts[front], coming[front]
            tell(leases.leave(front))
        elif step < 0.3 and coming[front]:
            holder.places, holder.number = coming[front].pop(0)
            holder.say(chance.randint(0, total))
        elif step < 0.5 and holder.said:
            wants, held, number = holder.said.pop(0)
            tell(leases.report(front, wants=wants, held=held, number=number))
        elif step < 0.7 and holder.running < holder.places:
            holder.running += 1
        elif step < 0.9 and holder.running:
            holder.running -= 1
            if holder.running >= holder.places:
                holder.say(chance.randint(0, total))
        elif step > 0.97:
            tell(leases.rotate())
        assert sum(holder.running for holder in fronts.values()) <= total


def test_a_front_that_wants_all_places_gets_them_back_and_forth() -> None:
    leases = SlotLeases(4)
    assert leases.join(0) == [(0, 4, 1)]
    assert leases.join(1) == [(0, 2, 2)]
    # The first gives two back, so the second has them.
    assert leases.report(0, wants=0, held=2, number=2) == [(1, 2, 1)]
    assert leases.report(1, wants=4, held=2, number=1) == [(0, 0, 3)]
    assert leases.report(0, wants=0, held=0, number=3) == [(1, 4, 2)]
    # The end of the second gives all to the first.
    assert leases.leave(1) == [(0, 4, 4)]


def test_what_is_counted_together() -> None:
    counters = Counters.create(2)
    try:
        limit = Options(max_buffered_bytes=100)
        one, two = (SharedBudget(lambda: limit, counters, front) for front in (0, 1))
        assert one.take(60)
        assert not two.take(50)
        assert two.take(40)
        assert (counters.total(Count.BUFFERED), two.free_bytes) == (100, 0)
        one.give(60)
        assert two.take(50)
        counters.set_calls(0, 3, 7)
        assert (counters.calls_elsewhere(1, 3), counters.calls_elsewhere(0, 3)) == (7, 0)
        counters.clear(0, 10)
        assert (counters.calls_elsewhere(1, 3), counters.of_others(1, Count.BUFFERED)) == (0, 0)
    finally:
        counters.close()
