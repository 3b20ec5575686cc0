"""What the store on SQLite alone can be asked: batches, restarts, time. test_conformance.py has what all stores do."""

import asyncio
import time
from pathlib import Path

import pytest
import uvloop

from whd.model.execution import Status
from whd.store.interface import Stored

from .store_samples import SOURCE, accepted, make, opened, until


class TestSaving:
    """What was saved is written in time, in few commits, and is there after a restart."""

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

    def test_only_the_last_version_of_a_batch_is_written(self, tmp_path: Path) -> None:
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
                assert store.counters().written == before + 1
                assert await store.get(execution.id) == Stored(execution, SOURCE)

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
            assert (tmp_path / "store").stat().st_size < 300_000

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
        """Loosely bounded here, for busy machines: about 1 µs on a quiet one."""

        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                some = [make() for _ in range(2000)]
                started = time.thread_time()
                for execution in some:
                    store.save_nowait(execution, SOURCE)
                assert (time.thread_time() - started) / len(some) < 50e-6

        asyncio.run(main())


class TestAccepting:
    """An accepted record is on disk before its answer; who waits together shares a commit."""

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
