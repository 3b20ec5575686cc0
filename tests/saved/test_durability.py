"""What a caller was told is saved outlives the process; a disk that refuses is said, and the file is looked after."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.settings.test_reload import on_loop
from whd.errors import StateError
from whd.saved import database, read_settings
from whd.saved.database import FILE_NAME

from .samples import WEBHOOK, world

ROOT = Path(__file__).parents[2]
ROUNDS = 5

# 16 callers, each saving one setting and appending to one list in turn; prints what it was told is saved.
BURST = """
import asyncio, os, sys
from pathlib import Path
from tests.saved.samples import world

async def main():
    async with world(Path(sys.argv[1])) as here:
        if here.saved.setting("acme", "log") is None:
            await here.save("log", [])
        async def call(caller):
            number = 0
            while True:
                number += 1
                await here.append("log", f"{os.getpid()}/{caller}/{number}")
                os.write(1, f"log {os.getpid()}/{caller}/{number}\\n".encode())
                await here.save(f"last.{caller}", [os.getpid(), number])
                os.write(1, f"{caller} {os.getpid()} {number}\\n".encode())
        await asyncio.gather(*map(call, range(16)))

asyncio.run(main())
"""

# The disk fills (no file may grow past a limit), then has room again.
FULL_DISK = """
import asyncio, logging, resource, sys
from pathlib import Path
from tests.saved.samples import world
from whd.errors import StateError

logging.basicConfig(format="LOG %(levelname)s %(message)s", stream=sys.stdout)
_, HARD = resource.getrlimit(resource.RLIMIT_FSIZE)

async def main():
    async with world(Path(sys.argv[1]), max_saved_bytes=400_000) as here:
        await here.save("a", [1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, HARD))
        content = b"x" * 300_000
        first = [asyncio.ensure_future(here.save_file("large", content)), asyncio.ensure_future(here.append("a", 2))]
        while not here.saved._flying:
            await asyncio.sleep(0)
        # What comes while the batch that fails is being written builds on it, and fails with it.
        first.append(asyncio.ensure_future(here.append("a", 2.5)))
        results = await asyncio.gather(*first, return_exceptions=True)
        assert [type(result) for result in results] == [StateError] * 3, results
        assert "saved.sqlite" not in results[0].detail and "saved.sqlite" in results[0].log_detail
        assert here.saved.fault
        assert here.value("a") == [1] and not here.saved.file_exists("acme", "large")
        size = here.saved.size_bytes("acme")
        resource.setrlimit(resource.RLIMIT_FSIZE, (HARD, HARD))
        await here.append("a", 3)
        assert here.value("a") == [1, 3] and not here.saved.fault
        assert here.saved.size_bytes("acme") == size + 2
        # Of which there is room for one alone: what failed takes none.
        await here.save_file("large", content)
    print("ALL WELL")

asyncio.run(main())
"""


def test_every_acknowledged_save_and_append_survives_kill_9(tmp_path: Path) -> None:
    """Some times over on one file, each time in the middle of a burst."""
    appended: list[str] = []
    last: dict[str, tuple[int, int]] = {}
    for number in range(ROUNDS):
        process = subprocess.Popen([sys.executable, "-c", BURST, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(200 + 37 * number)]
        process.send_signal(signal.SIGKILL)
        # The last line may be cut.
        lines += process.stdout.read().split(b"\n")[:-1]
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        for line in lines:
            name, *rest = line.decode().split()
            if name == "log":
                appended += rest
            else:
                last[name] = int(rest[0]), int(rest[1])
    kept = {record.name: record.value for record in read_settings(tmp_path / "state")}
    log = kept["log"]
    assert len(appended) > ROUNDS * 100
    assert not set(appended) - set(log)
    assert len(log) == len(set(log)), "nothing is there twice"
    for caller, (pid, number) in last.items():
        kept_pid, kept_number = kept[f"last.{caller}"]
        assert kept_pid != pid or kept_number >= number


def test_a_full_disk_refuses_changes_and_keeps_what_was(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "ALL WELL" in process.stdout, process.stdout + process.stderr
    assert process.stdout.count("LOG ERROR") == 1


@on_loop
async def test_close_waits_for_what_is_being_written(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        waiting = [asyncio.ensure_future(here.save(str(number), number)) for number in range(50)]
        await asyncio.sleep(0)
        await here.saved.close()
        await asyncio.gather(*waiting)
        await here.saved.close()
        with pytest.raises(Exception, match="closed"):
            await here.save("late", 1)
    assert len(read_settings(tmp_path / "state")) == 50


# https://www.sqlite.org/pragma.html: synchronous 2 is FULL.
PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


class TestTheFile:
    """saved.sqlite: private, versioned, and with a way out when it cannot be used."""

    @on_loop
    async def test_it_is_the_owners_alone(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            async with world(tmp_path) as here:
                await here.save("a", 1)
                modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
                assert modes == {FILE_NAME: 0o600, f"{FILE_NAME}-wal": 0o600, f"{FILE_NAME}-shm": 0o600}
        finally:
            os.umask(before)

    def test_a_commit_ends_with_an_fsync_and_what_is_deleted_is_overwritten(self, tmp_path: Path) -> None:
        connection = database.open_database(tmp_path / FILE_NAME)
        pragmas = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}
        connection.close()
        assert pragmas == PRAGMAS

    @on_loop
    async def test_a_key_that_was_deleted_is_gone_from_it(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            await here.save("client.webhook.x", {**WEBHOOK, "key": "an-old-key"})
            await here.save("client.webhook.x", {**WEBHOOK, "key": "a-newer-key"})
            await here.save("client.webhook.y", {**WEBHOOK, "key": "another-key"})
            await here.delete("client.webhook.y")
        data = (tmp_path / "state" / FILE_NAME).read_bytes()
        assert b"a-newer-key" in data
        assert b"an-old-key" not in data
        assert b"another-key" not in data

    @pytest.mark.parametrize(
        ("statement", "text"),
        [
            ("PRAGMA user_version=9", "newer whd.*run that version again"),
            ("PRAGMA application_id=1", "not whd's"),
            ("UPDATE setting SET value_json = '{'", "damaged .*setting a is not JSON.*move it"),
        ],
    )
    @on_loop
    async def test_what_cannot_be_used_says_the_way_out(self, tmp_path: Path, statement: str, text: str) -> None:
        async with world(tmp_path) as here:
            await here.save("a", 1)
        connection = sqlite3.connect(tmp_path / "state" / FILE_NAME)
        connection.execute(statement)
        connection.commit()
        connection.close()
        with pytest.raises(StateError, match=text):
            async with world(tmp_path):
                pass
        if "application_id" not in statement:
            with pytest.raises(StateError, match=text.partition(".*run")[0]):
                read_settings(tmp_path / "state")

    @on_loop
    async def test_garbage_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "state" / FILE_NAME
        path.parent.mkdir()
        path.write_bytes(b"no database " * 1000)
        for use in (lambda: database.open_database(path), lambda: read_settings(path.parent)):
            with pytest.raises(StateError, match=r"damaged .*move it"):
                use()
        assert path.read_bytes() == b"no database " * 1000


def test_what_is_read_beside_a_daemon_is_what_was_committed(tmp_path: Path) -> None:
    """`whd check` and `whd webhooks` read while the daemon writes."""
    process = subprocess.Popen([sys.executable, "-c", BURST, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        told: list[str] = []
        for _ in range(10):
            told += [process.stdout.readline().decode() for _ in range(20)]
            log = next(record.value for record in read_settings(tmp_path / "state") if record.name == "log")
            assert not {line.split()[1] for line in told if line.startswith("log")} - set(log)
            assert json.dumps(log)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
