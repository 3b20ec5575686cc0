"""The store's file: its tables, its versions, and how it is opened, created and kept private.

One file under state/, in WAL mode, and two beside it that SQLite makes with the same owner and mode (-wal, -shm).
https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from ..errors import StateError

APPLICATION_ID = 0x57484431  # "WHD1": file(1) and `open_database` tell the store from other SQLite files by it
VERSION = 1

# An origin is what ran and for whom: the names and the script's version, once. An execution then carries one small
# number for seven texts, one index serves every filter of `list`, and a script that no origin names can go.
_VERSION_1 = """
CREATE TABLE script (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    source TEXT
);
CREATE TABLE origin (
    id INTEGER PRIMARY KEY,
    client_name TEXT NOT NULL,
    webhook_name TEXT NOT NULL,
    key_webhook_name TEXT NOT NULL,
    flow_name TEXT NOT NULL,
    user_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    script INTEGER NOT NULL REFERENCES script (id),
    UNIQUE (client_name, webhook_name, key_webhook_name, flow_name, user_name, kind, script)
);
CREATE INDEX origin_by_script ON origin (script);
-- The payload stands last: whoever wants only the columns before it never reads its overflow pages.
CREATE TABLE execution (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL CHECK (length(id) = 16),
    origin INTEGER NOT NULL REFERENCES origin (id),
    status INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    parent_id BLOB NOT NULL,
    root_id BLOB NOT NULL,
    replay_of BLOB NOT NULL,
    cause TEXT NOT NULL,
    name TEXT NOT NULL,
    message TEXT NOT NULL,
    input_json BLOB NOT NULL,
    output_json BLOB NOT NULL,
    response_json BLOB NOT NULL,
    log BLOB NOT NULL
);
CREATE UNIQUE INDEX execution_by_id ON execution (id);
CREATE INDEX execution_by_origin ON execution (origin, status, id);
"""

# MIGRATIONS[n] leads from version n to n + 1.
MIGRATIONS: tuple[str, ...] = (_VERSION_1,)

COLUMNS = (
    "id",
    "origin",
    "status",
    "flags",
    "attempts",
    "created_ms",
    "started_ms",
    "ended_ms",
    "parent_id",
    "root_id",
    "replay_of",
    "cause",
    "name",
    "message",
    "input_json",
    "output_json",
    "response_json",
    "log",
)
HEAD_COLUMNS = tuple(name for name in COLUMNS[:14] if name != "origin")
PAYLOAD_COLUMNS = COLUMNS[14:]

# The writer checkpoints after its callers have been told; this is only the net below it.
AUTOCHECKPOINT_PAGES = 8000

_BUSY_MS = 5000


def save_statement(rows: int) -> str:
    """Inserts `rows` records in one statement, or replaces those whose id is there already; keeps `seq`."""
    places = "(" + ",".join("?" * len(COLUMNS)) + ")"
    changes = ",".join(f"{name}=excluded.{name}" for name in COLUMNS[1:])
    return (
        f"INSERT INTO execution ({','.join(COLUMNS)}) VALUES {','.join([places] * rows)} "
        f"ON CONFLICT (id) DO UPDATE SET {changes}"
    )


def open_database(path: Path) -> sqlite3.Connection:
    """The writer's connection; makes the folder and the file, or brings an older file to VERSION.

    Autocommit: transactions are begun and ended by hand. Any thread may use it, one at a time. Raises StateError with
    the way out.
    """
    try:
        _make_private(path)
        return _open(path)
    except sqlite3.Error as error:
        raise StateError(describe(error, path)) from error
    except OSError as error:
        raise StateError(f"{path}: cannot be made or opened: {error.strerror or error}") from error


def open_reader(path: Path) -> sqlite3.Connection:
    """A second connection that can only read. Raises StateError."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StateError(describe(error, path)) from error
    try:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        connection.close()
        raise StateError(describe(error, path)) from error
    return connection


def describe(error: sqlite3.Error, path: Path) -> str:
    """What went wrong with the file, and what to do about it, in one line."""
    # The low byte is the primary code (https://www.sqlite.org/rescode.html); errors of the module itself have none.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"{path}: the execution store is damaged ({error}); move it and its -wal and -shm files away and start "
            f"again with an empty store. `sqlite3 FILE .recover` may save records from what was moved"
        )
    remedy = {
        sqlite3.SQLITE_FULL: "free space on its disk",
        sqlite3.SQLITE_IOERR: "look at its disk: space, quota, health",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable for this user",
        sqlite3.SQLITE_PERM: "make the file and its folder writable for this user",
        sqlite3.SQLITE_CANTOPEN: "make the file and its folder accessible for this user",
        sqlite3.SQLITE_BUSY: "another program holds it; end that one",
        sqlite3.SQLITE_LOCKED: "another program holds it; end that one",
    }.get(code, "see the log")
    return f"{path}: the execution store cannot be used ({error}); {remedy}"


def _make_private(path: Path) -> None:
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.stat()
    if owner.st_uid == os.geteuid() and owner.st_mode & 0o077:
        folder.chmod(0o700)
    try:
        # SQLite gives -wal and -shm the mode, and for root the owner, of this file; so it is made here, not by SQLite.
        # A file that is there is never opened and closed by hand: that would drop the locks which SQLite holds on it
        # (fcntl(2): closing any descriptor of a file releases the process's locks).
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        status = path.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            path.chmod(0o600)
        return
    try:
        if os.geteuid() == 0 and owner.st_uid != 0:
            # `whd run` by root before the daemon's first start must not leave a file that the daemon cannot open.
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)
    _sync_folder(folder)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        # Only an empty file takes this; it lets retention give pages back in slices, where VACUUM would stop the world.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise StateError(f"{path}: SQLite's WAL mode does not work here; put state/ on a local disk")
        # FULL: every commit ends with an fsync of the WAL (https://www.sqlite.org/pragma.html#pragma_synchronous).
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT_PAGES}")
        connection.execute("PRAGMA journal_size_limit=4194304")
        connection.execute("PRAGMA cache_size=-8192")
        _migrate(connection, path)
        _check_length(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StateError(f"{path}: this SQLite file is not whd's; move it away or choose another --state")
    if version > VERSION:
        raise StateError(
            f"{path}: written by a newer whd (store version {version}, this one knows {VERSION}); "
            f"run that version again, or move the file away to start with an empty store"
        )
    for number in range(version, VERSION):
        # One transaction each, version included: a crash in between leaves the file at one version or the next.
        connection.executescript(
            f"BEGIN IMMEDIATE;{MIGRATIONS[number]};"
            f"PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={number + 1};COMMIT;"
        )


def _check_length(connection: sqlite3.Connection, path: Path) -> None:
    """A file that was cut short is found now and not by some later read; the whole is not read for it."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if not busy and path.stat().st_size < pages * page_bytes:
        raise StateError(
            f"{path}: the execution store is damaged (it was cut short); move it and its -wal and -shm files away and "
            f"start again with an empty store. `sqlite3 FILE .recover` may save records from what was moved"
        )


def _sync_folder(folder: Path) -> None:
    """Makes the new file's name as durable as its contents will be (fsync(2), on directories)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Some file systems refuse fsync on folders (EINVAL); there is nothing more to be had from them.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
