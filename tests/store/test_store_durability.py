"""What was acknowledged outlives the process, and a disk that refuses loses nothing silently."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from whd.model.execution import Status
from whd.model.options import Options
from whd.store.sqlite_store import SqliteStore

from .store_samples import SOURCE, make, opened, until

ROOT = Path(__file__).parents[2]
ROUNDS = 20

# Accepts as fast as it can with 64 outstanding, saves others in between, and prints each id once it is acknowledged.
BURST = """
import asyncio, os, sys
from pathlib import Path
from tests.store.store_samples import SOURCE, make, opened
from whd.model.execution import Status

async def main():
    async with opened(Path(sys.argv[1])) as store:
        def accept():
            execution = make(status=Status.PENDING, input_json=b'"%d"' % os.getpid())
            def done(error):
                assert error is None, error
                os.write(1, execution.id.encode() + b"\\n")
                accept()
            store.accept(execution, SOURCE, done)
            store.save_nowait(make(), SOURCE)
        for _ in range(64):
            accept()
        await asyncio.Event().wait()

asyncio.run(main())
"""

# Accepts one record; the markers on descriptor 1 stand in the trace before and after.
TRACED = """
import asyncio, os, sys
from pathlib import Path
from tests.store.store_samples import SOURCE, accepted, make, opened

async def main():
    async with opened(Path(sys.argv[1])) as store:
        await accepted(store, make())
        for _ in range(3):
            os.write(1, b"BEGIN\\n")
            assert await accepted(store, make()) is None
            os.write(1, b"END\\n")

asyncio.run(main())
"""

# The disk fills (no file may grow past a limit), then has room again.
FULL_DISK = """
import asyncio, logging, resource, sys
from pathlib import Path
from tests.store.store_samples import SOURCE, accepted, make, opened, until
from whd.errors import StateError
from whd.store import writer
from whd.model.execution import Status
from whd.store.interface import Stored

logging.basicConfig(format="LOG %(levelname)s %(message)s", stream=sys.stdout)
writer.CLOSE_S = 1.0
_, HARD = resource.getrlimit(resource.RLIMIT_FSIZE)

async def main(close_while_full):
    path = Path(sys.argv[1])
    async with opened(path) as store:
        first = make()
        assert await accepted(store, first) is None
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, HARD))
        saved = [make(input_json=b"1" * 1000) for _ in range(500)]
        for execution in saved:
            store.save_nowait(execution, SOURCE)
        refused, ended = make(), make(status=Status.RUNNING)
        waiting = accepted(store, refused), accepted(store, ended)
        ended.status = Status.ENDED_SUCCESS
        store.save_nowait(ended, SOURCE)
        saved.append(ended)
        error, _ = await asyncio.gather(*waiting)
        assert isinstance(error, StateError), error
        assert str(path) not in error.detail
        await until(lambda: store.fault)
        assert str(path) in store.fault
        assert isinstance(await accepted(store, make()), StateError), "at once, while the fault stands"
        assert await store.get(saved[7].id) == Stored(saved[7], SOURCE), "read from memory"
        assert await store.get(refused.id) is None, "the caller was told that it is not kept"
        assert store.counters().waiting == len(saved)
        await store.list()
        if close_while_full:
            return
        resource.setrlimit(resource.RLIMIT_FSIZE, (HARD, HARD))
        await until(lambda: not store.fault)
        assert await accepted(store, make()) is None
        await store.flush()
        assert store.counters().waiting == store.counters().lost == 0
    async with opened(path) as store:
        for execution in saved:
            assert await store.get(execution.id) == Stored(execution, SOURCE)
        assert await store.get(refused.id) is None
    print("ALL WELL")

try:
    asyncio.run(main(len(sys.argv) > 2))
except StateError as error:
    print("CLOSED:", error)
"""


def start(script: str, *arguments: object, wrapper: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    """Runs a script above in a process of its own."""
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_every_acknowledged_record_survives_kill_9(tmp_path: Path) -> None:
    """Twenty times over on one file, each time in the middle of a burst."""
    acknowledged: list[str] = []
    for number in range(ROUNDS):
        process = start(BURST, tmp_path / "store")
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(100 + 37 * number)]
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        # The last line may be cut; what follows the last line break is no whole id.
        acknowledged += [*lines, *rest[:-1]]

    async def check() -> None:
        async with opened(tmp_path / "store") as store:
            kept = {stored.execution.id: stored for stored in await store.unfinished()}
            assert len(acknowledged) > ROUNDS * 100
            assert not [line for line in acknowledged if line not in kept]
            assert all(stored.script == SOURCE for stored in kept.values())

    asyncio.run(check())


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_wal_is_synced_between_accept_and_done(tmp_path: Path) -> None:
    """synchronous=FULL means what it says: write to the WAL, fsync(2) or fdatasync(2) of it, then the callback."""
    trace = tmp_path / "trace"
    strace = ("strace", "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", str(trace))
    process = start(TRACED, tmp_path / "store", wrapper=strace)
    output, _ = process.communicate(timeout=60)
    if process.returncode and not trace.exists():
        pytest.skip("strace may not trace here")
    assert process.returncode == 0, output
    inside = trace.read_text().split('"BEGIN\\n"')[1:]
    assert len(inside) == 3
    for part in inside:
        calls = part.split('"END\\n"')[0].splitlines()
        written = [number for number, line in enumerate(calls) if "pwrite64(" in line and "store-wal" in line]
        synced = [number for number, line in enumerate(calls) if "sync(" in line and "store-wal" in line]
        assert written
        assert synced
        assert synced[-1] > written[-1]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Callers who wait are refused, the others' records wait in memory, are read from there, and are written later."""
    process = start(FULL_DISK, tmp_path / "store")
    output, _ = process.communicate(timeout=60)
    assert "ALL WELL" in output
    assert output.count("LOG ERROR") <= 2, "the fault is logged when it comes, not at each attempt"
    assert "records wait in memory" in output


def test_an_end_on_a_full_disk_says_how_many_were_lost(tmp_path: Path) -> None:
    process = start(FULL_DISK, tmp_path / "store", "close")
    output, _ = process.communicate(timeout=60)
    assert "CLOSED: 501 executions could not be written" in output
    assert "LOG ERROR 501 executions" in output


def test_who_brings_much_is_told_when_the_disk_has_caught_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whd.store.sqlite_store.BEHIND_BYTES", 10_000)

    async def main() -> None:
        told: list[int] = []
        async with opened(tmp_path / "store") as store:
            store.save_nowait(make(input_json=b"1" * 1000), SOURCE)
            store.when_room(lambda: told.append(store.counters().waiting))
            assert told == [1], "at once, for little waits"
            store.save_nowait(make(input_json=b"1" * 10_000), SOURCE)
            store.when_room(lambda: told.append(store.counters().waiting))
            assert told == [1]
            await until(lambda: len(told) == 2)
            assert told == [1, 0]

    asyncio.run(main())


def test_memory_is_bounded_while_nothing_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the first bound the store asks for calls to be refused, past the second it gives up records, and says so."""
    monkeypatch.setattr("whd.store.sqlite_store.FULL_BYTES", 10_000)
    monkeypatch.setattr("whd.store.intake.LIMIT_BYTES", 20_000)

    async def main() -> None:
        async with opened(tmp_path / "store") as store:
            fullness = [store.is_full]
            for _ in range(12):
                store.save_nowait(make(input_json=b"1" * 1000), SOURCE)
            fullness.append(store.is_full)
            for _ in range(12):
                store.save_nowait(make(input_json=b"1" * 1000), SOURCE)
            lost = store.counters().lost
            assert 0 < lost < 13
            await store.flush()
            fullness.append(store.is_full)
            assert fullness == [False, True, False]
            assert len(await store.list()) == 24 - lost
            assert "is not kept" in caplog.text

    asyncio.run(main())


def test_close_writes_all_that_waits(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "store", asyncio.get_running_loop(), Options)
        store.open()
        for _ in range(1000):
            store.save_nowait(make(status=Status.ENDED_ERROR), SOURCE)
        await store.close()
        async with opened(tmp_path / "store") as again:
            assert len(await again.list(limit=2000)) == 1000

    asyncio.run(main())
