"""What every store does, whatever keeps the records (whd/store/interface.py); stores.py has them all.

What only one of them can be asked (its files, its threads, a power cut) has tests of its own.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import fields
from pathlib import Path

import pytest

from whd.errors import StateError
from whd.model.execution import Execution, Status, new_id
from whd.store.interface import ExecutionStore, Stored
from whd.store.rows import to_row

from .store_samples import FULL, SOURCE, SPARSE, WAIT_S, accepted, make, until
from .stores import STORES, Given

InStore = Callable[[Callable[[ExecutionStore], Awaitable[None]]], None]
WithFaults = Callable[[Callable[[Given], Awaitable[None]]], None]


@pytest.fixture(params=STORES)
def with_faults(request: pytest.FixtureRequest, tmp_path: Path) -> WithFaults:
    """Runs a test in an open store that can be made to fail; an answer that never comes fails it too."""

    def run(main: Callable[[Given], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with STORES[request.param](tmp_path) as given:
                await asyncio.wait_for(main(given), WAIT_S)

        asyncio.run(whole())

    return run


@pytest.fixture
def in_store(with_faults: WithFaults) -> InStore:
    """Runs a test in an open store."""
    return lambda main: with_faults(lambda given: main(given.store))


class TestSaving:
    """What was saved is found, as it was at the call."""

    @pytest.mark.parametrize("execution", [FULL, SPARSE], ids=["full", "sparse"])
    @pytest.mark.parametrize("is_written", [False, True], ids=["waiting", "written"])
    def test_every_field_comes_back(self, in_store: InStore, execution: Execution, is_written: bool) -> None:
        async def main(store: ExecutionStore) -> None:
            store.save_nowait(execution, SOURCE)
            if is_written:
                await store.flush()
            assert await store.get(execution.id) == Stored(execution, SOURCE)

        in_store(main)

    def test_a_record_that_was_taken_elsewhere_is_the_same(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            pending, full = make(status=Status.PENDING), FULL
            done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
            store.accept_row(to_row(pending), SOURCE, done.set_result)
            store.save_row(to_row(full), None)
            assert await done is None
            assert await store.get(pending.id) == Stored(pending, SOURCE)
            assert await store.get(full.id) == Stored(full, SOURCE)

        in_store(main)

    def test_a_record_is_taken_as_it_is_at_the_call(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            execution = make(message="before", log=[b"1"])
            store.save_nowait(execution, SOURCE)
            execution.message = "after"
            execution.log.append(b"2")
            stored = await store.get(execution.id)
            await store.flush()
            assert stored == await store.get(execution.id)
            assert stored is not None
            assert (stored.execution.message, stored.execution.log) == ("before", [b"1"])

        in_store(main)

    def test_what_is_found_is_the_callers(self, in_store: InStore) -> None:
        """Changing it changes nothing in the store."""

        async def main(store: ExecutionStore) -> None:
            execution = make(log=[b"1"])
            store.save_nowait(execution, SOURCE)
            for _ in range(2):
                stored = await store.get(execution.id)
                assert stored == Stored(execution, SOURCE)
                assert stored is not None
                stored.execution.message = "changed"
                stored.execution.log.append(b"2")

        in_store(main)

    def test_the_last_version_wins(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            execution = make(status=Status.PENDING)
            assert await accepted(store, execution) is None
            for number in range(5):
                execution.message = str(number)
                store.save_nowait(execution, None)
                assert await store.get(execution.id) == Stored(execution, SOURCE)
            execution.status = Status.ENDED_ERROR
            store.save_nowait(execution, None)
            await store.flush()
            assert await store.get(execution.id) == Stored(execution, SOURCE)
            assert [found.id for found in await store.list()] == [execution.id]

        in_store(main)

    def test_large_and_small_records_share_a_batch(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            some = [make(input_json=b'"' + b"x" * size + b'"') for size in (1, 10_000_000, 2, 70_000, 8192, 8191)]
            for execution in some:
                store.save_nowait(execution, SOURCE)
            await store.flush()
            for execution in some:
                assert await store.get(execution.id) == Stored(execution, SOURCE)

        in_store(main)

    def test_a_script_may_come_later_or_never(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            execution = make()
            store.save_nowait(execution, None)
            assert await store.get(execution.id) == Stored(execution, None)
            await store.flush()
            assert await store.get(execution.id) == Stored(execution, None)
            store.save_nowait(make(), SOURCE)
            await store.flush()
            assert await store.get(execution.id) == Stored(execution, SOURCE)

        in_store(main)

    def test_a_script_is_found_by_its_hash(self, in_store: InStore) -> None:
        """Each version once, for all records that name it, whichever came first."""

        async def main(store: ExecutionStore) -> None:
            for number in range(50):
                name = str(number % 2)
                store.save_nowait(make(script_hash=name * 64, flow_name=str(number)), name * 10_000)
            await store.flush()
            for name in ("0", "1"):
                execution = make(script_hash=name * 64)
                store.save_nowait(execution, None)
                assert await store.get(execution.id) == Stored(execution, name * 10_000)

        in_store(main)

    def test_flush_has_everything_written(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            await store.flush()
            for _ in range(10):
                store.save_nowait(make(), SOURCE)
            await store.flush()
            counters = store.counters()
            assert (counters.written, counters.waiting, counters.waiting_bytes) == (10, 0, 0)
            assert (counters.lost, counters.fault) == (0, "")

        in_store(main)

    def test_a_store_that_keeps_up_has_room(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            store.save_nowait(make(), SOURCE)
            told: list[str] = []
            store.when_room(lambda: told.append("at once"))
            assert told == ["at once"]
            assert (store.fault, store.is_full, store.is_behind) == ("", False, False)

        in_store(main)

    def test_a_closed_store_takes_nothing(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            before = threading.active_count()
            await store.close()
            await store.close()
            assert threading.active_count() <= before
            with pytest.raises(StateError):
                store.save_nowait(make(), SOURCE)
            with pytest.raises(StateError):
                store.save_row(to_row(make()), SOURCE)
            assert isinstance(await accepted(store, make()), StateError)
            for read in (store.get(new_id()), store.list(), store.unfinished(), store.flush()):
                with pytest.raises(StateError):
                    await read

        in_store(main)


class TestAccepting:
    """An accepted record is kept before its caller hears of it, and each caller hears once."""

    def test_many_at_once_are_all_kept(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            some = [make(status=Status.PENDING) for _ in range(1000)]
            for future in [accepted(store, execution) for execution in some]:
                assert await future is None
            assert await store.unfinished() == [Stored(execution, SOURCE) for execution in sorted_by_id(some)]

        in_store(main)

    def test_the_answer_arrives_on_the_loop_and_not_within_the_call(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            threads: list[int] = []
            store.accept(make(), SOURCE, lambda _: threads.append(threading.get_ident()))
            assert not threads
            await until(lambda: bool(threads))
            assert threads == [threading.get_ident()]

        in_store(main)

    def test_a_caller_that_fails_keeps_no_other_from_its_answer(
        self, in_store: InStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main(store: ExecutionStore) -> None:
            store.accept(make(), SOURCE, lambda _: 1 // 0)  # type: ignore[arg-type]
            assert await accepted(store, make()) is None
            assert "ZeroDivisionError" in caplog.text

        in_store(main)

    def test_while_a_fault_stands_nothing_is_accepted_but_saves_are_taken(self, with_faults: WithFaults) -> None:
        async def main(given: Given) -> None:
            store = given.store
            await store.flush()
            refused, saved, told = make(status=Status.PENDING), make(), [False]
            given.set_fault("the disk is full")
            answer = accepted(store, refused)
            store.save_nowait(saved, SOURCE)
            store.when_room(lambda: told.append(True))
            assert told == [False, True], "nobody waits for a disk that may never come back"
            assert store.fault == store.counters().fault == "the disk is full"
            assert not answer.done(), "never within the call"
            error = await answer
            assert isinstance(error, StateError)
            assert "disk" not in error.detail, "that is the operator's"
            assert await store.get(refused.id) is None
            given.set_fault("")
            assert await store.get(saved.id) == Stored(saved, SOURCE)

        with_faults(main)

    def test_saves_and_reads_from_all_sides_end_in_one_state(self, in_store: InStore) -> None:
        """Many tasks change and read their own records at once; each reads what it wrote last."""

        async def one(store: ExecutionStore, number: int) -> Execution:
            execution = make(status=Status.PENDING, message=f"{number}")
            for step in range(8):
                execution.message = f"{number} {step}"
                if step % 3:
                    store.save_nowait(execution, SOURCE)
                else:
                    assert await accepted(store, execution) is None
                stored = await store.get(execution.id)
                assert stored is not None
                assert stored.execution == execution
            return execution

        async def main(store: ExecutionStore) -> None:
            done = await asyncio.gather(*(one(store, number) for number in range(60)))
            assert {found.message for found in await store.list(limit=100)} == {each.message for each in done}

        in_store(main)


class TestFinding:
    """By id, unfinished ones, and the list, newest first."""

    def test_an_unknown_or_malformed_id_is_none(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            store.save_nowait(make(), SOURCE)
            for wrong in (new_id(), "", "x", "' OR 1=1", new_id().upper()):
                assert await store.get(wrong) is None

        in_store(main)

    def test_unfinished_are_the_pending_and_running_ones_with_their_scripts(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            some = [make(status=status, created_ms=n) for n, status in enumerate(list(Status) * 3)]
            for execution in some:
                store.save_nowait(execution, SOURCE)
            expected = [Stored(each, SOURCE) for each in some if not each.status.is_ended]
            assert await store.unfinished() == expected
            for stored in expected:
                stored.execution.status = Status.ENDED_CANCELLED
                store.save_nowait(stored.execution, None)
            assert await store.unfinished() == []

        in_store(main)

    def test_the_list_is_what_a_plain_filter_gives(self, in_store: InStore) -> None:
        """Against a model: every mix of filters, limits and pages."""
        some = [
            make(
                created_ms=1_700_000_000_000 + number,
                client_name=("acme", "other")[number % 3 == 0],
                webhook_name=("signup", "push", "")[number % 5 % 3],
                script_hash=str(number % 7),
                status=list(Status)[number % 4],
            )
            for number in range(300)
        ]

        async def main(store: ExecutionStore) -> None:
            for execution in some:
                store.save_nowait(execution, SOURCE)
            for client in (None, "acme", "nobody"):
                for status in (None, Status.PENDING, Status.ENDED_CANCELLED):
                    for webhook in (None, "signup", "", "nothing"):
                        for limit, before in ((50, None), (7, some[100].id), (1000, some[299].id), (0, None)):
                            expected = [
                                execution.id
                                for execution in reversed(some)
                                if client in (None, execution.client_name)
                                and status in (None, execution.status)
                                and webhook in (None, execution.webhook_name)
                                and (before is None or execution.id < before)
                            ][:limit]
                            found = await store.list(client, status, webhook, limit, before)
                            assert [execution.id for execution in found] == expected

        in_store(main)

    def test_a_summary_has_all_but_payload_and_log(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            store.save_nowait(FULL, SOURCE)
            (found,) = await store.list()
            for field in fields(Execution):
                if field.name not in ("input_json", "output_json", "response_json", "log"):
                    assert getattr(found, field.name) == getattr(FULL, field.name)
            assert (found.input_json, found.output_json, found.response_json, found.log) == (b"", b"", b"", [])

        in_store(main)

    def test_a_cursor_that_is_no_id_is_refused(self, in_store: InStore) -> None:
        async def main(store: ExecutionStore) -> None:
            with pytest.raises(ValueError, match="no id"):
                await store.list(before="yesterday")

        in_store(main)


def sorted_by_id(executions: list[Execution]) -> list[Execution]:
    """The order in which they were made."""
    return sorted(executions, key=lambda execution: execution.id)
