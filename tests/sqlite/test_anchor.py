"""What can happen to the files of an open database, and that it is noticed."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from whd.sqlite import file as sqlite_file
from whd.sqlite.anchor import Anchor


def replace(path: Path) -> None:
    """Another file with the same bytes, as a restored backup is."""
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def another_folder(path: Path) -> None:
    move_folder(path)
    shutil.copytree(path.parent.with_name("elsewhere"), path.parent)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_file_for_the_folder(path: Path) -> None:
    move_folder(path)
    path.parent.write_text("")


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


DEEDS: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_name("other")),
    "another file in its place": replace,
    "a folder in its place": a_folder,
    "emptied": lambda path: os.truncate(path, 0),
    "no WAL": lambda path: beside(path, "-wal").unlink(),
    "another WAL": lambda path: replace(beside(path, "-wal")),
    "no shared memory": lambda path: beside(path, "-shm").unlink(),
    "the folder moved": move_folder,
    "the folder deleted": lambda path: shutil.rmtree(path.parent),
    "another folder in its place": another_folder,
    "a file for the folder": a_file_for_the_folder,
}


def open_database(folder: Path) -> tuple[Path, sqlite3.Connection]:
    path = folder / "state" / "some.sqlite"
    sqlite_file.make_private(path)
    connection = sqlite_file.connect(path)
    sqlite_file.make_durable(connection, path)
    connection.execute("CREATE TABLE one (a)")
    connection.execute("INSERT INTO one VALUES (1)")
    return path, connection


@pytest.mark.parametrize("deed", DEEDS)
def test_whatever_takes_a_file_from_its_place_is_named(tmp_path: Path, deed: str) -> None:
    path, connection = open_database(tmp_path)
    anchor = Anchor(path)
    assert anchor.fault() == ""
    DEEDS[deed](path)
    assert str(path) in anchor.fault()
    assert "restart whd" in anchor.fault()
    anchor.leave(connection)


def test_ordinary_work_does_not(tmp_path: Path) -> None:
    path, connection = open_database(tmp_path)
    anchor = Anchor(path)
    for number in range(100):
        connection.execute("INSERT INTO one VALUES (?)", ("x" * 10_000 * (number % 7),))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("DELETE FROM one")
    connection.execute("VACUUM")
    other = sqlite_file.connect(path, writes=False)
    other.execute("SELECT count(*) FROM one").fetchone()
    other.close()
    assert anchor.fault() == ""
    anchor.leave(connection)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "closed as ever"


def test_what_comes_back_is_well_again(tmp_path: Path) -> None:
    path, connection = open_database(tmp_path)
    anchor = Anchor(path)
    move_folder(path)
    assert anchor.fault()
    path.parent.with_name("elsewhere").rename(path.parent)
    assert anchor.fault() == ""
    anchor.leave(connection)


def test_what_a_lost_wal_held_is_copied_into_the_database(tmp_path: Path) -> None:
    path, connection = open_database(tmp_path)
    anchor = Anchor(path)
    beside(path, "-wal").unlink()
    assert anchor.rescue(connection)
    shutil.copy(path, tmp_path / "as the next start finds it")
    again = sqlite3.connect(tmp_path / "as the next start finds it")
    assert again.execute("SELECT a FROM one").fetchall() == [(1,)]
    again.close()
    anchor.leave(connection)


def test_the_wal_of_another_database_in_its_place_is_left_alone(tmp_path: Path) -> None:
    """SQLite would delete it by its name at the end of the last connection."""
    path, connection = open_database(tmp_path)
    anchor = Anchor(path)
    another_folder(path)
    anchor.leave(connection)
    assert beside(path, "-wal").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root opens everything")
def test_a_file_that_the_next_start_could_not_open(tmp_path: Path) -> None:
    path, connection = open_database(tmp_path)
    anchor = Anchor(path)
    path.chmod(0o400)
    assert "owner or mode" in anchor.fault()
    path.chmod(0o600)
    assert anchor.fault() == ""
    anchor.leave(connection)


def test_a_reader_makes_no_file_where_there_is_none(tmp_path: Path) -> None:
    """A front that starts while the file is gone must not put an empty one in its place."""
    with pytest.raises(sqlite3.OperationalError):
        sqlite_file.connect(tmp_path / "with space?#%", writes=False).execute("SELECT 1 FROM sqlite_master").fetchall()
    assert list(tmp_path.iterdir()) == []
