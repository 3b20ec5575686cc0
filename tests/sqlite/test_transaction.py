"""All of a block is kept, or nothing of it; and what SQLite says of a file, in words that tell what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from whd.sqlite.file import describe
from whd.sqlite.transaction import transaction


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None, timeout=0)
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    yield connection
    connection.close()


def rows(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT n FROM t ORDER BY n")]


def test_a_block_that_ends_is_kept(connection: sqlite3.Connection) -> None:
    seen = [connection.in_transaction]
    with transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)")
        seen.append(connection.in_transaction)
    seen.append(connection.in_transaction)
    assert seen == [False, True, False]
    assert rows(connection) == [1]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_of_a_block_that_raises_nothing_is_kept(connection: sqlite3.Connection, error: type[BaseException]) -> None:
    def fail() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (1)")
            raise error

    with pytest.raises(error):
        fail()
    assert not connection.in_transaction
    assert rows(connection) == []


def test_a_commit_that_fails_leaves_no_open_transaction(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE child (n REFERENCES t DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.execute("INSERT INTO child VALUES (7)")
    assert not connection.in_transaction


def test_what_sqlite_rolled_back_by_itself_is_not_rolled_back_again(connection: sqlite3.Connection) -> None:
    """https://www.sqlite.org/lang_conflict.html: OR ROLLBACK ends the transaction, as a full disk does."""
    connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
    assert rows(connection) == [1]


def test_the_lock_is_taken_at_the_beginning(connection: sqlite3.Connection, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "db", isolation_level=None, timeout=0)
    with transaction(connection), pytest.raises(sqlite3.OperationalError, match="locked"), transaction(other):
        pytest.fail("the block was entered")
    other.close()


def error_of(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (sqlite3.SQLITE_FULL, "free space on its disk"),
        (sqlite3.SQLITE_IOERR, "look at its disk: space, quota, health"),
        (sqlite3.SQLITE_IOERR_WRITE, "look at its disk: space, quota, health"),
        (sqlite3.SQLITE_READONLY, "make the file and its folder writable for this user"),
        (sqlite3.SQLITE_CANTOPEN, "make the file and its folder accessible for this user"),
        (sqlite3.SQLITE_BUSY, "another program holds it; end that one"),
        (sqlite3.SQLITE_MISUSE, "see the log"),
    ],
)
def test_each_error_comes_with_a_way_out(code: int, remedy: str) -> None:
    text = describe(error_of(code), Path("/state/x.sqlite"), "the store")
    assert text == f"/state/x.sqlite: the store cannot be used (what SQLite says); {remedy}"


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT_INDEX])
def test_damage_is_named(code: int) -> None:
    assert "/state/x.sqlite: the store is damaged" in describe(error_of(code), Path("/state/x.sqlite"), "the store")
