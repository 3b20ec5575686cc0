"""The store's files: private, versioned, and when they cannot be used, a text that says so and what to do."""

import asyncio
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from whd.errors import StateError
from whd.model.execution import new_id
from whd.model.options import Options
from whd.store import schema
from whd.store.interface import Stored
from whd.store.sqlite_store import SqliteStore

from .store_samples import SOURCE, accepted, make, opened

NOBODY = 65534


def fill(path: Path, count: int = 500) -> None:
    """A store with that many records, closed."""

    async def main() -> None:
        async with opened(path) as store:
            for _ in range(count):
                store.save_nowait(make(), SOURCE)

    asyncio.run(main())


def fault_at_open(path: Path) -> str:
    """What opening the store raises."""

    async def main() -> str:
        store = SqliteStore(path, asyncio.get_running_loop(), Options)
        with pytest.raises(StateError) as caught:
            store.open()
        await store.close()
        return caught.value.detail

    return asyncio.run(main())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestPrivacy:
    """The folder is 0700, every file in it 0600, whatever the umask and whatever was there before."""

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
    def test_folder_and_files_are_the_owners_alone(self, tmp_path: Path, umask: int) -> None:
        async def main() -> None:
            async with opened(tmp_path / "deep" / "state" / "store") as store:
                assert await accepted(store, make()) is None
                await store.get(new_id())
                files = {path.name: mode(path) for path in (tmp_path / "deep" / "state").iterdir()}
                assert files == {"store": 0o600, "store-wal": 0o600, "store-shm": 0o600}
                assert mode(tmp_path / "deep" / "state") == 0o700

        before = os.umask(umask)
        try:
            asyncio.run(main())
        finally:
            os.umask(before)

    def test_what_was_open_to_others_is_closed(self, tmp_path: Path) -> None:
        fill(tmp_path / "state" / "store", 1)
        (tmp_path / "state").chmod(0o755)
        (tmp_path / "state" / "store").chmod(0o644)
        fill(tmp_path / "state" / "store", 1)
        assert mode(tmp_path / "state") == 0o700
        assert mode(tmp_path / "state" / "store") == 0o600

    def test_a_clean_end_leaves_one_file(self, tmp_path: Path) -> None:
        fill(tmp_path / "state" / "store")
        assert [path.name for path in (tmp_path / "state").iterdir()] == ["store"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
    def test_what_root_makes_belongs_to_the_folders_owner(self, tmp_path: Path) -> None:
        """A command that root runs must not lock the daemon out."""
        folder = tmp_path / "state"
        folder.mkdir(mode=0o700)
        os.chown(folder, NOBODY, NOBODY)

        async def main() -> None:
            async with opened(folder / "store") as store:
                assert await accepted(store, make()) is None
                assert {path.stat().st_uid for path in folder.iterdir()} == {NOBODY}

        asyncio.run(main())


class TestVersions:
    """user_version says which whd wrote the file."""

    def test_a_new_file_has_this_version(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 1)
        connection = sqlite3.connect(tmp_path / "store")
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        assert len(schema.MIGRATIONS) == schema.VERSION

    def test_a_newer_one_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 1)
        connection = sqlite3.connect(tmp_path / "store")
        connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
        connection.close()
        fault = fault_at_open(tmp_path / "store")
        assert "newer whd" in fault
        assert str(tmp_path / "store") in fault
        connection = sqlite3.connect(tmp_path / "store")
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION + 1,)
        connection.close()

    def test_an_older_one_is_brought_up_step_by_step(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        execution = make()

        async def save() -> None:
            async with opened(tmp_path / "store") as store:
                store.save_nowait(execution, SOURCE)

        async def read() -> None:
            async with opened(tmp_path / "store") as store:
                assert await store.get(execution.id) == Stored(execution, SOURCE)

        asyncio.run(save())
        monkeypatch.setattr(schema, "VERSION", schema.VERSION + 2)
        monkeypatch.setattr(
            schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE one (a)", "ALTER TABLE one ADD COLUMN b")
        )
        asyncio.run(read())
        connection = sqlite3.connect(tmp_path / "store")
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert connection.execute("SELECT a, b FROM one").fetchall() == []
        connection.close()

    def test_a_file_of_another_page_size_is_written_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schema, "PAGE_BYTES", 4096)
        fill(tmp_path / "store", 20)
        monkeypatch.undo()
        fill(tmp_path / "store", 20)
        connection = sqlite3.connect(tmp_path / "store")
        assert connection.execute("PRAGMA page_size").fetchone() == (4096,)
        assert connection.execute("SELECT count(*) FROM execution").fetchone() == (40,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()

    def test_a_migration_that_fails_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(tmp_path / "store", 1)
        monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE one (a); SELECT nothing"))
        assert "cannot be used" in fault_at_open(tmp_path / "store")
        connection = sqlite3.connect(tmp_path / "store")
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION - 1,)
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'one'").fetchall()
        connection.close()

    def test_another_programs_file_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        connection = sqlite3.connect(tmp_path / "store")
        connection.execute("CREATE TABLE theirs (a)")
        connection.close()
        assert "not whd's" in fault_at_open(tmp_path / "store")


class TestDamage:
    """A file that cannot be read is named, with the way out; nothing of it is overwritten."""

    def test_garbage(self, tmp_path: Path) -> None:
        (tmp_path / "store").write_bytes(b"no database " * 1000)
        fault = fault_at_open(tmp_path / "store")
        assert str(tmp_path / "store") in fault
        assert "damaged" in fault
        assert "move" in fault
        assert (tmp_path / "store").read_bytes() == b"no database " * 1000

    @pytest.mark.parametrize("kept", [0.2, 0.7])
    def test_a_file_that_was_cut_short(self, tmp_path: Path, kept: float) -> None:
        fill(tmp_path / "store")
        size = (tmp_path / "store").stat().st_size
        os.truncate(tmp_path / "store", int(size * kept) // schema.PAGE_BYTES * schema.PAGE_BYTES)
        assert "damaged" in fault_at_open(tmp_path / "store")

    def test_damage_that_is_found_later_is_an_error_of_that_read(self, tmp_path: Path) -> None:
        execution = make(input_json=b"1" * 20_000)

        async def save() -> None:
            async with opened(tmp_path / "store") as store:
                store.save_nowait(execution, SOURCE)

        async def read() -> None:
            async with opened(tmp_path / "store") as store:
                with pytest.raises(StateError, match="cannot be read"):
                    await store.get(execution.id)
                assert await store.get(new_id()) is None

        asyncio.run(save())
        connection = sqlite3.connect(tmp_path / "store")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'execution'").fetchone()
        connection.close()
        with (tmp_path / "store").open("r+b") as file:
            file.seek((root - 1) * schema.PAGE_BYTES)
            file.write(b"\xff" * schema.PAGE_BYTES)
        asyncio.run(read())

    def test_an_empty_file_becomes_a_store(self, tmp_path: Path) -> None:
        (tmp_path / "store").touch()
        fill(tmp_path / "store", 1)

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir()
        assert str(tmp_path / "store") in fault_at_open(tmp_path / "store")

    def test_a_file_where_state_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "state").touch()
        assert str(tmp_path / "state" / "store") in fault_at_open(tmp_path / "state" / "store")


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder of somebody else; root becomes an ordinary user for as long as the test has it."""
    if os.geteuid() != 0:
        yield Path("/")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(0)


class TestReadOnly:
    """A state/ that cannot be written is a StateError, not a traceback."""

    def test_a_folder_that_cannot_be_written(self, foreign_folder: Path) -> None:
        fault = fault_at_open(foreign_folder / "store")
        assert str(foreign_folder) in fault
        assert "Permission denied" in fault
        assert str(foreign_folder) in fault_at_open(foreign_folder / "state" / "store")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_somebody_else(self, tmp_path: Path, foreign_folder: Path) -> None:
        os.seteuid(0)
        foreign_folder.chmod(0o777)
        fill(foreign_folder / "store", 1)
        foreign_folder.chmod(0o777)
        os.seteuid(NOBODY)
        assert "for this user" in fault_at_open(foreign_folder / "store")


class TestSecondOpener:
    """Who holds the lock on state/ is decided elsewhere; two openers of one file do no harm to each other."""

    def test_both_write_and_both_see_all(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as one, opened(tmp_path / "store") as two:
                for number in range(200):
                    (one, two)[number % 2].save_nowait(make(flow_name=str(number % 10)), str(number % 10))
                await asyncio.gather(one.flush(), two.flush())
                assert len(await one.list(limit=1000)) == len(await two.list(limit=1000)) == 200

        asyncio.run(main())

    def test_a_command_after_the_daemon_reads_what_it_left(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 3)

        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                assert len(await store.list()) == 3

        asyncio.run(main())
