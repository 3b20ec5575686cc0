"""What has ended leaves by age and by size, the oldest first; what has not, never does."""

import asyncio
import time
from pathlib import Path

import pytest

from whd.model.execution import Execution, Status
from whd.model.options import Options
from whd.store import retention, writer
from whd.store.interface import Stored
from whd.store.sqlite_store import SqliteStore

from .store_samples import SOURCE, accepted, make, opened, until

MIB = 1024 * 1024
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _frequent_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 0.2 s instead of every 5 s."""
    monkeypatch.setattr(writer, "SWEEP_EVERY_S", 0.2)
    monkeypatch.setattr(writer, "SWEEP_LEAST_S", 0.2)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def aged(hours: float, **fields: object) -> Execution:
    """An execution that was made and ended that long ago."""
    moment = now_ms() - int(hours * HOUR_MS)
    return make(**({"created_ms": moment, "started_ms": moment, "ended_ms": moment} | fields))


class TestAge:
    """retention_minutes counts from the end."""

    def test_only_what_ended_before_goes(self, tmp_path: Path) -> None:
        old = [aged(2), aged(1.5), aged(30)]
        kept = [
            aged(0.5),
            aged(2, ended_ms=now_ms()),
            aged(50, status=Status.PENDING, ended_ms=0),
            aged(50, status=Status.RUNNING, ended_ms=0),
        ]

        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                for execution in old + kept:
                    store.save_nowait(execution, SOURCE)
            async with opened(tmp_path / "store", lambda: Options(retention_minutes=60)) as store:
                while len(found := await store.list()) > len(kept):
                    await asyncio.sleep(0.01)
                assert {each.id for each in found} == {each.id for each in kept}

        asyncio.run(asyncio.wait_for(main(), 20))

    def test_it_is_live(self, tmp_path: Path) -> None:
        options = [Options()]

        async def main() -> None:
            async with opened(tmp_path / "store", lambda: options[0]) as store:
                for number in range(3000):
                    store.save_nowait(aged(2, flow_name=str(number % 3)), SOURCE)
                await store.flush()
                assert len(await store.list(limit=5000)) == 3000
                options[0] = Options(retention_minutes=60)
                while await store.list():
                    await asyncio.sleep(0.05)

        asyncio.run(asyncio.wait_for(main(), 30))

    def test_a_script_goes_with_the_last_execution_that_ran_it(self, tmp_path: Path) -> None:
        """The text of a flow's older version is not kept for ever; a version that is still named is."""
        secret = "# the older version\n" * 10

        async def main() -> None:
            kept = aged(0, script_hash="b" * 64)
            async with opened(tmp_path / "store") as store:
                for _ in range(10):
                    store.save_nowait(aged(2), secret)
                store.save_nowait(aged(2, script_hash="b" * 64), SOURCE)
                store.save_nowait(kept, SOURCE)
            async with opened(tmp_path / "store", lambda: Options(retention_minutes=60)) as store:
                while len(await store.list()) > 1:
                    await asyncio.sleep(0.01)
                assert await store.get(kept.id) == Stored(kept, SOURCE)
                again = make()
                store.save_nowait(again, None)
                assert await store.get(again.id) == Stored(again, None), "nobody names it: it is gone"
                store.save_nowait(again, secret)
                await store.flush()
                assert await store.get(again.id) == Stored(again, secret), "and it can come back"

        asyncio.run(asyncio.wait_for(main(), 20))


class TestSize:
    """max_store_bytes bounds the file, the WAL included."""

    def test_the_oldest_ended_go_and_the_file_stays_small(self, tmp_path: Path) -> None:
        waiting = make(status=Status.PENDING, ended_ms=0, created_ms=1, input_json=b"1" * 10_000)

        async def main() -> None:
            async with opened(tmp_path / "store", lambda: Options(max_store_bytes=4 * MIB)) as store:
                store.save_nowait(waiting, SOURCE)
                last = make()
                for number in range(3000):
                    last = make(created_ms=1000 + number, input_json=b"1" * 10_000)
                    store.save_nowait(last, SOURCE)
                    if number % 100 == 0:
                        await store.flush()
                await store.flush()
                files = (tmp_path / "store", tmp_path / "store-wal")
                await until(lambda: sum(path.stat().st_size for path in files) <= 4 * MIB)
                found = await store.list(limit=5000)
                assert found[0].id == last.id
                assert found[-1].id == waiting.id
                times = [each.created_ms for each in found[:-1]]
                assert times == list(range(3999, 3999 - len(times), -1)), "the oldest are gone, and no other"
                assert 50 < len(times) < 450

        asyncio.run(main())

    def test_a_smaller_limit_shrinks_the_file(self, tmp_path: Path) -> None:
        options = [Options()]

        async def main() -> None:
            async with opened(tmp_path / "store", lambda: options[0]) as store:
                for number in range(2000):
                    store.save_nowait(make(created_ms=number + 1, input_json=b"1" * 10_000), SOURCE)
                await until(lambda: store.counters().file_bytes > 2 * MIB)
                options[0] = Options(max_store_bytes=2 * MIB)
                await until(lambda: store.counters().file_bytes <= 2 * MIB)
            assert (tmp_path / "store").stat().st_size <= 2 * MIB

        asyncio.run(main())

    def test_what_has_not_ended_stays_and_is_warned_of(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store", lambda: Options(max_store_bytes=MIB)) as store:
                for _ in range(500):
                    store.save_nowait(make(status=Status.PENDING, input_json=b"1" * 10_000), SOURCE)
                store.save_nowait(make(), SOURCE)
                await until(lambda: "max_store_bytes" in caplog.text)
                assert len(await store.unfinished()) == len(await store.list(limit=1000)) == 500

        asyncio.run(main())

    def test_records_are_accepted_meanwhile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A sweep works in slices; nobody waits for its end."""
        # So many that a busy machine, too, comes to something else before they are all done.
        monkeypatch.setattr(retention, "SLICE_ROWS", 32)
        options = [Options(retention_minutes=1e9)]
        swept = [make(created_ms=number + 1, ended_ms=number + 2) for number in range(20_000)]
        accepted_meanwhile = 0

        async def accept_on(store: SqliteStore) -> None:
            nonlocal accepted_meanwhile
            is_over = False
            while not is_over:
                has_begun = await store.get(swept[0].id) is None
                assert await accepted(store, make()) is None
                is_over = await store.get(swept[-1].id) is None
                accepted_meanwhile += has_begun and not is_over

        async def main() -> None:
            async with opened(tmp_path / "store", lambda: options[0]) as store:
                for execution in swept:
                    store.save_nowait(execution, SOURCE)
                await store.flush()
                options[0] = Options(retention_minutes=1)
                # Several, so that one always waits, and the sweep is not done while they are looked for.
                await asyncio.gather(*(accept_on(store) for _ in range(4)))
                assert accepted_meanwhile

        asyncio.run(main())
