"""Which delivery is the first with its id, whatever keeps the records: store/deliveries.py on every store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from whd.futures import value_of
from whd.model.delivery import Delivery, read_delivery
from whd.model.execution import Execution, Status
from whd.model.options import Options
from whd.store import queries, schema
from whd.store.deliveries import Deliveries, KeptDelivery
from whd.store.interface import Conflict, ExecutionStore, Repeat, Reserved
from whd.store.memory import MemoryStore
from whd.store.retention import Retention
from whd.store.schema import open_database

from .store_samples import SOURCE, WAIT_S, accepted, make, opened, until
from .stores import STORES

InStore = Callable[[Callable[[ExecutionStore], Awaitable[None]]], None]
# Beyond the end of any run of the suite.
LATER_MS = time.time_ns() // 1_000_000 + 86_400_000
KEY, BODY, OTHER = b"k" * 32, b"b" * 32, b"o" * 32
DELIVERY = Delivery(KEY, b"", LATER_MS)


@pytest.fixture(params=STORES)
def in_store(request: pytest.FixtureRequest, tmp_path: Path) -> InStore:
    def run(main: Callable[[ExecutionStore], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with STORES[request.param](tmp_path) as given:
                await asyncio.wait_for(main(given.store), WAIT_S)

        asyncio.run(whole())

    return run


async def ask(store: ExecutionStore, delivery: Delivery = DELIVERY, **more: Any) -> Any:
    return await value_of(lambda decided: store.deliveries.reserve(delivery, decided, **more))


async def first(store: ExecutionStore, delivery: Delivery = DELIVERY, **more: Any) -> Reserved:
    outcome = await ask(store, delivery, **more)
    assert isinstance(outcome, Reserved), outcome
    return outcome


def of(delivery: Delivery = DELIVERY, status: Status = Status.ENDED_SUCCESS, **more: Any) -> Execution:
    return make(status=status, delivery=delivery.to_text(), **more)


def test_a_delivery_travels_as_text() -> None:
    for delivery in (DELIVERY, Delivery(KEY, BODY, 5)):
        assert read_delivery(delivery.to_text()) == delivery


class TestReserving:
    def test_who_comes_later_is_a_repeat_of_what_came_of_the_first(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            store.deliveries.begin((await first(store)).number, "e1")
            assert await ask(store) == Repeat("e1", Status.PENDING)
            await first(store, DELIVERY._replace(key=OTHER))

        in_store(main)

    def test_who_comes_at_the_same_moment_waits_and_nothing_is_first_twice(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            asked = [asyncio.ensure_future(ask(store)) for _ in range(20)]
            done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            (outcome,) = (task.result() for task in done)
            assert (type(outcome), len(waiting)) == (Reserved, 19)
            store.deliveries.begin(outcome.number, "e1")
            assert await asyncio.gather(*waiting) == [Repeat("e1", Status.PENDING)] * 19

        in_store(main)

    def test_if_nothing_comes_of_the_first_the_next_in_line_is_it(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            outcome = await first(store)
            waiting = [asyncio.ensure_future(ask(store)) for _ in range(3)]
            for _ in range(3):
                store.deliveries.release(outcome.number)
                store.deliveries.release(outcome.number)
                outcome = await waiting.pop(0)
                assert isinstance(outcome, Reserved)
            store.deliveries.begin(outcome.number, "e1")
            assert await ask(store) == Repeat("e1", Status.PENDING)

        in_store(main)

    def test_one_that_began_and_could_not_start_is_free_again(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            outcome = await first(store)
            store.deliveries.begin(outcome.number, "e1")
            store.deliveries.release(outcome.number)
            await first(store)

        in_store(main)

    def test_a_window_ends(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            past = DELIVERY._replace(until_ms=1)
            store.deliveries.begin((await first(store, past)).number, "e1")
            outcome = await first(store, past)
            execution = of(past)
            store.deliveries.begin(outcome.number, execution.id)
            store.save_nowait(execution, SOURCE)
            await store.flush()
            await first(store, past)

        in_store(main)

    def test_one_that_ends_after_its_window_does_not_take_the_place_of_the_next(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            past = DELIVERY._replace(until_ms=1)
            old, new = of(past), of(created_ms=time.time_ns() // 1_000_000 + 1_000)
            store.deliveries.begin((await first(store, past)).number, old.id)
            # Saved while the next one is reserved, and again when that has been recorded.
            number = (await first(store)).number
            store.save_nowait(old, SOURCE)
            store.deliveries.begin(number, new.id)
            assert (await ask(store)).execution_id == new.id
            store.save_nowait(new, SOURCE)
            store.save_nowait(old, SOURCE)
            await store.flush()
            assert (await ask(store)).execution_id == new.id

        in_store(main)

    def test_nor_over_a_restart(self, tmp_path: Path) -> None:
        old, new = of(DELIVERY._replace(until_ms=1)), of(created_ms=time.time_ns() // 1_000_000 + 1_000)

        async def before() -> None:
            async with opened(tmp_path / "store") as store:
                store.save_nowait(new, SOURCE)
                await store.flush()
                store.save_nowait(old, SOURCE)

        async def after() -> None:
            async with opened(tmp_path / "store") as store:
                assert await ask(store) == Repeat(new.id, Status.ENDED_SUCCESS)

        asyncio.run(before())
        asyncio.run(after())


class TestBodies:
    def test_the_same_id_with_another_body_is_a_first_of_its_own(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            one, other = Delivery(KEY, BODY, LATER_MS), Delivery(KEY, OTHER, LATER_MS)
            outcome = await first(store, one)
            assert not outcome.is_reused
            store.deliveries.begin(outcome.number, "e1")
            outcome = await first(store, other)
            assert outcome.is_reused
            store.deliveries.begin(outcome.number, "e2")
            assert await ask(store, one) == Repeat("e1", Status.PENDING)
            assert await ask(store, other) == Repeat("e2", Status.PENDING)

        in_store(main)

    @pytest.mark.parametrize("is_written", [False, True])
    def test_or_a_conflict_where_it_is_to_be_unique(self, in_store: InStore, is_written: bool) -> None:
        async def main(store: ExecutionStore) -> None:
            one, other = Delivery(KEY, BODY, LATER_MS), Delivery(KEY, OTHER, LATER_MS)
            outcome = await first(store, one, is_unique=True)
            waiting = asyncio.ensure_future(ask(store, other, is_unique=True))
            execution = of(one)
            store.deliveries.begin(outcome.number, execution.id)
            assert await waiting == Conflict()
            if is_written:
                store.save_nowait(execution, SOURCE)
                await store.flush()
            assert await ask(store, other, is_unique=True) == Conflict()
            assert isinstance(await ask(store, one, is_unique=True), Repeat)

        in_store(main)

    def test_of_which_none_comes_no_conflict_comes(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            outcome = await first(store, Delivery(KEY, BODY, LATER_MS), is_unique=True)
            waiting = asyncio.ensure_future(ask(store, Delivery(KEY, OTHER, LATER_MS), is_unique=True))
            store.deliveries.release(outcome.number)
            assert isinstance(await waiting, Reserved)

        in_store(main)


class TestInsteadOf:
    def test_one_that_failed_is_replaced_once(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            failed = of(status=Status.ENDED_ERROR)
            store.deliveries.begin((await first(store)).number, failed.id)
            store.save_nowait(failed, SOURCE)
            assert (await ask(store)).execution_id == failed.id
            outcomes = [asyncio.ensure_future(ask(store, instead_of=failed.id)) for _ in range(5)]
            done, waiting = await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
            (outcome,) = (task.result() for task in done)
            assert isinstance(outcome, Reserved)
            store.deliveries.begin(outcome.number, "e2")
            assert await asyncio.gather(*waiting) == [Repeat("e2", Status.PENDING)] * 4

        in_store(main)

    def test_one_that_runs_is_not(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            store.deliveries.begin((await first(store)).number, "e1")
            assert await ask(store, instead_of="e1") == Repeat("e1", Status.PENDING)

        in_store(main)


class TestWritten:
    def test_an_accepted_one_is_found_by_its_record_alone(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            outcome = await first(store)
            execution = of(status=Status.PENDING, is_async=True)
            assert await accepted(store, execution, SOURCE) is None
            store.deliveries.begin(outcome.number, execution.id)
            assert await ask(store) == Repeat(execution.id, Status.PENDING)

        in_store(main)

    def test_the_unfinished_know_their_delivery(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            execution = of(status=Status.PENDING, is_async=True)
            assert await accepted(store, execution, SOURCE) is None
            assert await accepted(store, make(status=Status.PENDING), SOURCE) is None
            found = {stored.execution.id: stored.execution.delivery for stored in await store.unfinished()}
            assert found[execution.id] == DELIVERY.to_text()
            assert sorted(found.values()) == ["", DELIVERY.to_text()]

        in_store(main)


class TestOnDisk:
    """SQLite alone: over restarts, and nothing is kept in memory for good."""

    def test_a_restart_knows_what_was_accepted(self, tmp_path: Path) -> None:
        execution = of(status=Status.PENDING, is_async=True)

        async def before() -> None:
            async with opened(tmp_path / "store") as store:
                assert await accepted(store, execution, SOURCE) is None

        async def after() -> None:
            async with opened(tmp_path / "store") as store:
                assert await ask(store) == Repeat(execution.id, Status.PENDING)
                execution.status = Status.ENDED_ERROR
                store.save_nowait(execution, SOURCE)
                assert await ask(store) == Repeat(execution.id, Status.ENDED_ERROR)
                await first(store, instead_of=execution.id)

        asyncio.run(before())
        asyncio.run(after())

    def test_what_ended_is_found_on_disk_once_memory_has_let_go_of_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("whd.store.deliveries.SETTLE_S", 0.0)

        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                execution = of()
                store.deliveries.begin((await first(store)).number, execution.id)
                store.save_nowait(execution, SOURCE)
                table = store.deliveries
                assert isinstance(table, Deliveries)
                await until(lambda: table.in_memory == 0)
                assert await ask(store) == Repeat(execution.id, Status.ENDED_SUCCESS)

        asyncio.run(main())

    def test_an_id_outlives_its_record_and_leaves_at_the_end_of_its_window(self, tmp_path: Path) -> None:
        now_ms = time.time_ns() // 1_000_000
        kept = of(created_ms=now_ms - 700_000, ended_ms=now_ms - 600_000)
        over = of(DELIVERY._replace(key=OTHER, until_ms=now_ms - 1))

        async def main() -> None:
            async with opened(tmp_path / "store", lambda: Options(retention_minutes=1.0)) as store:
                store.save_nowait(kept, SOURCE)
                store.save_nowait(over, SOURCE)

        asyncio.run(main())
        connection = open_database(tmp_path / "store")
        sweep = Retention(connection, tmp_path / "store").sweep(
            now_ms=now_ms, retention_minutes=1.0, max_store_bytes=2**30
        )
        for _slice in sweep:
            pass
        assert queries.get_deliveries(connection, KEY) == [
            KeptDelivery(b"", kept.id, Status.ENDED_SUCCESS, DELIVERY.until_ms)
        ]
        assert queries.get_deliveries(connection, OTHER) == []
        assert connection.execute("SELECT count(*) FROM execution").fetchone() == (1,)
        connection.close()

    def test_a_file_of_before_gets_its_table(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def save() -> None:
            async with opened(tmp_path / "store") as store:
                await store.flush()

        async def use() -> None:
            async with opened(tmp_path / "store") as store:
                await first(store)

        monkeypatch.setattr(schema, "VERSION", 1)
        asyncio.run(save())
        monkeypatch.undo()
        asyncio.run(use())


class TestHolders:
    """A front that dies: what it reserved is free, what it had recorded is not."""

    def test_what_came_to_nothing_is_free_and_the_next_in_line_of_another_gets_it(self) -> None:
        async def main() -> None:
            store = MemoryStore(asyncio.get_running_loop())
            await first(store, holder="a")
            mine = asyncio.ensure_future(ask(store, holder="a"))
            others = asyncio.ensure_future(ask(store, holder="b"))
            await asyncio.sleep(0)
            store.deliveries.abandon("a")
            assert isinstance(await others, Reserved)
            assert not mine.done()
            mine.cancel()

        asyncio.run(main())

    def test_what_ran_unrecorded_is_free_and_what_was_recorded_is_not(self) -> None:
        async def main() -> None:
            store = MemoryStore(asyncio.get_running_loop())
            recorded, other = of(status=Status.RUNNING), DELIVERY._replace(key=OTHER)
            store.deliveries.begin((await first(store, holder="a")).number, recorded.id)
            store.save_nowait(recorded, SOURCE)
            store.deliveries.begin((await first(store, other, holder="a")).number, "lost")
            store.deliveries.abandon("a")
            assert await ask(store) == Repeat(recorded.id, Status.RUNNING)
            await first(store, other)
            # Its record is nowhere to be found after all.
            await first(store, instead_of=recorded.id)

        asyncio.run(main())

    def test_one_that_dies_between_record_and_word_has_begun(self) -> None:
        async def main() -> None:
            store = MemoryStore(asyncio.get_running_loop())
            await first(store, holder="a")
            execution = of(status=Status.PENDING, is_async=True)
            store.save_nowait(execution, SOURCE)
            waiting = asyncio.ensure_future(ask(store, holder="b"))
            await asyncio.sleep(0)
            assert not waiting.done()
            store.deliveries.abandon("a")
            assert await waiting == Repeat(execution.id, Status.PENDING)

        asyncio.run(main())


def test_who_cannot_read_says_so_to_everybody_who_asked() -> None:
    async def main() -> None:
        waiting: list[Any] = []
        table = Deliveries(asyncio.get_running_loop(), lambda key, found: waiting.append(found), lambda done: None)
        answers: list[Any] = []
        for _ in range(2):
            table.reserve(DELIVERY, answers.append)
        (found,) = waiting
        found(ValueError("no"))
        assert [str(answer) for answer in answers] == ["no", "no"]
        assert table.in_memory == 0

    asyncio.run(main())
