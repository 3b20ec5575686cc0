"""The file saved.sqlite: its tables, and the statements that read and write it.

What is deleted or replaced is overwritten (secure_delete), as a saved webhook holds its keys.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ..errors import StateError
from ..model.snapshot import SavedSetting
from ..sqlite import file as sqlite_file
from ..sqlite.anchor import Anchor
from ..sqlite.transaction import transaction
from .ledger import SETTING, LedgerBatch, SavedFile

_log = logging.getLogger(__name__)

# Below state/.
FILE_NAME: Final = "saved.sqlite"
WHAT: Final = "the store of what flows saved"

_VERSION_1 = """
CREATE TABLE setting (
    id INTEGER PRIMARY KEY,
    client_name TEXT NOT NULL,
    name TEXT NOT NULL,
    saver TEXT NOT NULL,
    saved_ms INTEGER NOT NULL,
    value_json TEXT NOT NULL,
    UNIQUE (client_name, name)
);
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    client_name TEXT NOT NULL,
    name TEXT NOT NULL,
    saver TEXT NOT NULL,
    saved_ms INTEGER NOT NULL,
    is_text INTEGER NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (client_name, name)
);
"""
# What was saved before is as old as its last change, for all that is known.
_VERSION_2 = """
ALTER TABLE setting ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;
UPDATE setting SET created_ms = saved_ms;
ALTER TABLE file ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;
UPDATE file SET created_ms = saved_ms;
"""
FORMAT: Final = sqlite_file.Format(WHAT, 0x57484453, (_VERSION_1, _VERSION_2))  # "WHDS"

# More names than this are no list that a flow can use: it gets an error.
MAX_LISTED: Final = 10_000


class Detached(StateError):
    """The file no longer stands where it was opened: nothing is kept until a restart."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{WHAT} cannot be used now", log_detail=fault)


def check_anchor(anchor: Anchor) -> None:
    """Raises Detached where the next start would not find what is written now."""
    if fault := anchor.fault():
        raise Detached(fault)


def open_database(path: Path) -> sqlite3.Connection:
    """The writer's connection; makes the file (0600), or brings an older one to this version. Raises StateError."""
    try:
        sqlite_file.make_private(path)
        connection = sqlite_file.connect(path)
        try:
            sqlite_file.make_durable(connection, path)
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("PRAGMA journal_size_limit=4194304")
            sqlite_file.migrate(connection, path, FORMAT)
            sqlite_file.check_length(connection, path, WHAT)
        except BaseException:
            connection.close()
            raise
        return connection
    except sqlite3.Error as error:
        raise StateError(sqlite_file.describe(error, path, WHAT)) from error
    except OSError as error:
        raise StateError(sqlite_file.unopened(error, path)) from error


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can only read. Raises StateError."""
    try:
        return sqlite_file.connect(path, writes=False)
    except sqlite3.Error as error:
        raise StateError(sqlite_file.describe(error, path, WHAT)) from error


def job_failed(error: Exception, path: Path) -> StateError:
    """What a job on the file raised, in the `except`, as what a flow is answered: that it did not work.

    The path and SQLite's words are the operator's: `log_detail`.
    """
    if isinstance(error, Detached):
        return error
    if isinstance(error, sqlite3.Error):
        fault = sqlite_file.describe(error, path, WHAT)
    else:
        _log.exception("a job on what flows saved failed")
        fault = f"{path}: {WHAT} cannot be used ({type(error).__name__}); see the log"
    return StateError(f"{WHAT} cannot be used now", log_detail=fault)


def read_settings(state: Path) -> list[SavedSetting]:
    """What flows saved, read beside a daemon or without one; [] where nothing was ever saved. Raises StateError."""
    path = state / FILE_NAME
    try:
        if not path.exists():
            return []
        connection = open_reader(path)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(FORMAT.migrations):
                raise StateError(f"{path}: written by a newer whd; use that version")
            # The file is there a moment before its tables are.
            return list(settings(connection, path, version)) if version else []
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StateError(sqlite_file.describe(error, path, WHAT)) from error
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from error


def settings(
    connection: sqlite3.Connection, path: Path, version: int = len(FORMAT.migrations)
) -> Iterator[SavedSetting]:
    """All saved settings. `version`: of the file, which only the writer brings to the newest one.

    Raises sqlite3.Error, StateError.
    """
    created = "created_ms" if version >= 2 else "saved_ms"
    rows = connection.execute(f"SELECT client_name, name, value_json, saver, saved_ms, {created} FROM setting")
    for client_name, name, value_json, saver, saved_ms, created_ms in rows:
        try:
            value = json.loads(value_json)
        except ValueError:
            raise StateError(
                sqlite_file.damaged(path, WHAT, f"the value of {client_name}'s setting {name} is not JSON")
            ) from None
        yield SavedSetting(client_name, name, value, value_json.encode(), saver, saved_ms, created_ms)


def file_sizes(connection: sqlite3.Connection) -> Iterator[tuple[str, str, int]]:
    """Client, name and size of all saved files. Raises sqlite3.Error."""
    return connection.execute("SELECT client_name, name, length(content) FROM file")


def file(connection: sqlite3.Connection, client_name: str, name: str) -> SavedFile | None:
    """One file with its content. Raises sqlite3.Error."""
    row = connection.execute(
        "SELECT content, is_text, saver, saved_ms FROM file WHERE client_name = ? AND name = ?", (client_name, name)
    ).fetchone()
    if row is None:
        return None
    content, is_text, saver, saved_ms = row
    return SavedFile(client_name, name, content, bool(is_text), saver, saved_ms)


def file_times(connection: sqlite3.Connection, client_name: str, name: str) -> tuple[int, int] | None:
    """When a file was saved first and last, in ms since 1970; None if it is not there. Raises sqlite3.Error."""
    statement = "SELECT created_ms, saved_ms FROM file WHERE client_name = ? AND name = ?"
    row: tuple[int, int] | None = connection.execute(statement, (client_name, name)).fetchone()
    return row


def has_file(connection: sqlite3.Connection, client_name: str, name: str) -> bool:
    """Whether a file is saved. Raises sqlite3.Error."""
    statement = "SELECT 1 FROM file WHERE client_name = ? AND name = ?"
    return connection.execute(statement, (client_name, name)).fetchone() is not None


def file_names(
    connection: sqlite3.Connection, client_name: str, prefix: str, is_wanted: Callable[[str], bool]
) -> list[str] | None:
    """The sorted names that start with `prefix` and are wanted; None if they are more than MAX_LISTED.

    Raises sqlite3.Error.
    """
    found: list[str] = []
    # BINARY order of UTF-8 is the order of code points, so that the prefix is a range and the first past it the end.
    rows = connection.execute(
        "SELECT name FROM file WHERE client_name = ? AND name >= ? ORDER BY name", (client_name, prefix)
    )
    for (name,) in rows:
        if not name.startswith(prefix):
            break
        if is_wanted(name):
            if len(found) == MAX_LISTED:
                return None
            found.append(name)
    return found


def write(connection: sqlite3.Connection, batch: LedgerBatch, anchor: Anchor) -> None:
    """The whole batch in one transaction, fsynced at its end. Raises sqlite3.Error, Detached."""
    check_anchor(anchor)
    with transaction(connection):
        for (kind, client_name, name), record in batch.records():
            if record is None:
                statement = _DELETE_SETTING if kind == SETTING else _DELETE_FILE
                values: tuple[Any, ...] = (client_name, name)
            elif isinstance(record, SavedFile):
                statement = _SAVE_FILE
                saved_ms = record.saved_ms
                values = (client_name, name, record.saver, saved_ms, saved_ms, record.is_text, record.content)
            else:
                statement = _SAVE_SETTING
                value_json = record.value_json.decode()
                values = (client_name, name, record.saver, record.saved_ms, record.created_ms, value_json)
            connection.execute(statement, values)
    # Behind the fsync: what is promised now must be in the file that the next start opens.
    if fault := anchor.fault():
        # The file has a change that was refused to who made it, and what is known of it here has not.
        anchor.condemn(fault)
        raise Detached(fault)


def _save(table: str, *columns: str, kept: str = "") -> str:
    """`kept`: a column that stays what it was when the record came to be."""
    names = ("client_name", "name", *columns)
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name != kept)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT (client_name, name) DO UPDATE SET {changes}"
    )


_SAVE_SETTING = _save("setting", "saver", "saved_ms", "created_ms", "value_json")
# Of files the daemon knows no more than their sizes.
_SAVE_FILE = _save("file", "saver", "saved_ms", "created_ms", "is_text", "content", kept="created_ms")
_DELETE_SETTING = "DELETE FROM setting WHERE client_name = ? AND name = ?"
_DELETE_FILE = "DELETE FROM file WHERE client_name = ? AND name = ?"
