"""The store keeps what it is given, finds it again, and lists it."""

import asyncio
import threading
import time
from dataclasses import fields
from pathlib import Path

import pytest
import uvloop

from whd.errors import StateError
from whd.model.execution import Cause, Execution, Status, new_id
from whd.model.options import Options
from whd.store import rows
from whd.store.interface import ExecutionStore, Stored
from whd.store.sqlite_store import SqliteStore

from .store_samples import FULL, SOURCE, SPARSE, accepted, make, opened, until


class TestRows:
    """An execution survives the way into a row and back."""

    def test_every_status_and_cause_has_a_code(self) -> None:
        assert {Status(name) for name in rows.STATUS_CODES} == set(Status)
        for cause in Cause:
            assert rows.from_row(rows.to_row(make(cause=cause))).cause is cause

    def test_a_field_that_is_added_to_the_record_is_not_forgotten_here(self) -> None:
        """`take` holds every field, and one number more."""
        assert len(rows.to_row(make())) == len(fields(Execution)) + 1

    def test_ids_have_one_spelling(self) -> None:
        text = new_id()
        raw = rows.to_bytes(text)
        assert raw is not None
        assert rows.to_text(raw) == text
        for wrong in ("", "x", text.upper() + "0", text.replace("-", ""), text + "\n", f" {text}", "٣" * 8 + text[8:]):
            assert rows.to_bytes(wrong) is None

    def test_ids_sort_by_the_moment_they_were_made(self) -> None:
        raw = rows.to_bytes(new_id(1_700_000_000_000))
        assert raw is not None
        assert rows.first_id(1_700_000_000_000) <= raw < rows.first_id(1_700_000_000_001)


class TestSaving:
    """What was saved is there, as it was at the call."""

    @pytest.mark.parametrize("execution", [FULL, SPARSE], ids=["full", "sparse"])
    @pytest.mark.parametrize("is_written", [False, True], ids=["waiting", "written"])
    def test_every_field_comes_back(self, tmp_path: Path, execution: Execution, is_written: bool) -> None:
        async def main() -> None:
            async with opened(tmp_path / "state" / "store") as store:
                store.save_nowait(execution, SOURCE)
                if is_written:
                    await store.flush()
                assert await store.get(execution.id) == Stored(execution, SOURCE)

        asyncio.run(main())

    def test_it_is_there_after_a_restart(self, tmp_path: Path) -> None:
        many = [make(message=str(number)) for number in range(100)]

        async def save() -> None:
            async with opened(tmp_path / "store") as store:
                for execution in many:
                    store.save_nowait(execution, SOURCE)

        async def read() -> None:
            async with opened(tmp_path / "store") as store:
                for execution in many:
                    assert await store.get(execution.id) == Stored(execution, SOURCE)

        asyncio.run(save())
        uvloop.run(read())

    def test_a_record_is_taken_as_it_is_at_the_call(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                execution = make(message="before", log=[b"1"])
                store.save_nowait(execution, SOURCE)
                execution.message = "after"
                execution.log.append(b"2")
                stored = await store.get(execution.id)
                await store.flush()
                assert stored == await store.get(execution.id)
                assert stored is not None
                assert (stored.execution.message, stored.execution.log) == ("before", [b"1"])

        asyncio.run(main())

    def test_the_last_version_wins(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                execution = make(status=Status.PENDING)
                assert await accepted(store, execution) is None
                for number in range(5):
                    execution.message = str(number)
                    store.save_nowait(execution, None)
                before = store.counters().written
                execution.status = Status.ENDED_ERROR
                store.save_nowait(execution, None)
                await store.flush()
                assert store.counters().written == before + 1, "only the last of one batch is written"
                assert await store.get(execution.id) == Stored(execution, SOURCE)
                assert [found.id for found in await store.list()] == [execution.id]

        asyncio.run(main())

    def test_it_is_written_within_a_second_without_being_asked(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                for _ in range(3):
                    started = time.monotonic()
                    store.save_nowait(make(), SOURCE)
                    await until(lambda: store.counters().waiting == 0)
                    assert time.monotonic() - started < 1.0

        asyncio.run(main())

    def test_it_is_written_in_batches(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                for _ in range(5000):
                    store.save_nowait(make(), SOURCE)
                await until(lambda: store.counters().waiting == 0)
                assert store.counters().written == 5000
                assert store.counters().commits <= 20

        asyncio.run(main())

    def test_large_and_small_records_share_a_batch(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                some = [make(input_json=b'"' + b"x" * size + b'"') for size in (1, 10_000_000, 2, 70_000, 8192, 8191)]
                for execution in some:
                    store.save_nowait(execution, SOURCE)
                await store.flush()
                for execution in some:
                    assert await store.get(execution.id) == Stored(execution, SOURCE)

        asyncio.run(main())

    def test_a_large_record_is_replaced_by_its_next_version(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                execution = make(status=Status.RUNNING, input_json=b'"' + b"i" * 20_000_000 + b'"')
                for size in (3, 300_000, 70_000, 5, 65_537):
                    execution.output_json = b'"' + b"o" * size + b'"'
                    execution.response_json = b"r" * (size // 2)
                    execution.log = [b"l" * (2 * size)]
                    store.save_nowait(execution, SOURCE)
                    await store.flush()
                    assert await store.get(execution.id) == Stored(execution, SOURCE)

        asyncio.run(main())

    def test_a_script_is_stored_once_per_version(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                for number in range(50):
                    name = str(number % 2)
                    store.save_nowait(make(script_hash=name * 64, flow_name=str(number)), name * 10_000)
                await store.flush()
                execution = make(script_hash="1" * 64)
                store.save_nowait(execution, None)
                assert await store.get(execution.id) == Stored(execution, "1" * 10_000)
            assert (tmp_path / "store").stat().st_size < 200_000

        asyncio.run(main())

    def test_a_script_may_come_later_or_never(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                execution = make()
                store.save_nowait(execution, None)
                assert await store.get(execution.id) == Stored(execution, None)
                await store.flush()
                assert await store.get(execution.id) == Stored(execution, None)
                store.save_nowait(make(), SOURCE)
                await store.flush()
                assert await store.get(execution.id) == Stored(execution, SOURCE)

        asyncio.run(main())

    def test_a_record_that_cannot_be_written_takes_no_other_along(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A surrogate becomes a question mark; a number beyond SQLite's is refused, logged and counted."""

        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                good, odd, bad = make(), make(message="\ud800!"), make(attempts=1 << 70)
                done = [accepted(store, execution) for execution in (good, odd, bad)]
                errors = [await future for future in done]
                assert errors[:2] == [None, None]
                assert isinstance(errors[2], OverflowError)
                assert await store.get(good.id) == Stored(good, SOURCE)
                assert (await store.get(odd.id) or Stored(good, "")).execution.message == "?!"
                assert await store.get(bad.id) is None
                assert store.counters().lost == 1
                assert store.fault == ""
                assert bad.id in caplog.text

        asyncio.run(main())

    def test_a_save_takes_the_loop_no_time(self, tmp_path: Path) -> None:
        """Loosely bounded here, for busy machines: about 2 µs on a quiet one."""

        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                some = [make() for _ in range(2000)]
                started = time.thread_time()
                for execution in some:
                    store.save_nowait(execution, SOURCE)
                assert (time.thread_time() - started) / len(some) < 50e-6

        asyncio.run(main())

    def test_a_closed_store_takes_nothing(self, tmp_path: Path) -> None:
        async def main() -> None:
            store = SqliteStore(tmp_path / "store", asyncio.get_running_loop(), Options)
            store.open()
            await store.close()
            await store.close()
            with pytest.raises(StateError):
                store.save_nowait(make(), SOURCE)
            assert isinstance(await accepted(store, make()), StateError)
            with pytest.raises(StateError):
                await store.get(new_id())
            assert not [thread for thread in threading.enumerate() if thread.name.startswith("whd-store")]

        asyncio.run(main())

    def test_it_has_the_interface_that_a_second_store_would_have(self, tmp_path: Path) -> None:
        async def main() -> None:
            store: ExecutionStore = SqliteStore(tmp_path / "store", asyncio.get_running_loop(), Options)
            assert not store.is_full

        asyncio.run(main())


class TestAccepting:
    """An accepted record is on disk before anyone is told; who waits together, shares a commit."""

    def test_another_connection_sees_it_when_done_is_called(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store, opened(tmp_path / "store") as other:
                execution = make(status=Status.PENDING)
                assert await accepted(store, execution) is None
                assert await other.get(execution.id) == Stored(execution, SOURCE)

        asyncio.run(main())

    def test_many_share_a_commit(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                for future in [accepted(store, make()) for _ in range(1000)]:
                    assert await future is None
                assert store.counters().written == 1000
                assert store.counters().commits < 20

        asyncio.run(main())

    def test_callbacks_arrive_on_the_loop(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                where: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                store.accept(make(), SOURCE, lambda _: where.set_result(threading.get_ident()))
                assert await where == threading.get_ident()

        uvloop.run(main())

    def test_a_caller_that_fails_keeps_no_other_from_being_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                store.accept(make(), SOURCE, lambda _: 1 // 0)  # type: ignore[arg-type]
                assert await accepted(store, make()) is None
                assert "ZeroDivisionError" in caplog.text

        asyncio.run(main())

    def test_flush_has_everything_written(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                await store.flush()
                for _ in range(10):
                    store.save_nowait(make(), SOURCE)
                await store.flush()
                assert store.counters().waiting == 0
                assert store.counters().waiting_bytes == 0

        asyncio.run(main())

    def test_saves_and_reads_from_all_sides_end_in_one_state(self, tmp_path: Path) -> None:
        """Many tasks change and read their own records at once; each reads what it wrote last."""

        async def one(store: SqliteStore, number: int) -> Execution:
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

        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                done = await asyncio.gather(*(one(store, number) for number in range(60)))
                assert {found.message for found in await store.list(limit=100)} == {each.message for each in done}

        asyncio.run(main())
