"""The store's file: its tables, its versions, and how it is opened, created and kept private.

One file under state/, in WAL mode, and two beside it that SQLite makes with the same owner and mode (-wal, -shm).
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path

from ..errors import StateError
from ..sqlite import file as sqlite_file

APPLICATION_ID = 0x57484431  # "WHD1": file(1) and `open_database` tell the store from other SQLite files by it
VERSION = 2

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
-- The payload stands last: a reader of the columns before it never reads its overflow pages.
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

# The ids of deliveries, apart from the executions: those that came without pay nothing for it, and an id outlives a
# record that had to go for room. One index is for the start, which reads what is unfinished, one for retention.
_VERSION_2 = """
CREATE TABLE delivery (
    key BLOB NOT NULL,
    body BLOB NOT NULL,
    execution BLOB NOT NULL,
    status INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (key, body)
) WITHOUT ROWID;
CREATE INDEX delivery_by_end ON delivery (until_ms);
CREATE INDEX delivery_unfinished ON delivery (execution) WHERE status < 2;
"""

# An id sorts by time: one that ends after its window does not take the place of the next one.
SAVE_DELIVERY = (
    "INSERT INTO delivery (key, body, execution, status, until_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key, body) "
    "DO UPDATE SET execution=excluded.execution, status=excluded.status, until_ms=excluded.until_ms "
    "WHERE excluded.execution >= delivery.execution"
)

# MIGRATIONS[n] leads from version n to n + 1.
MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2)

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

# A page of the file. A large payload is written page by page, into the WAL and from there into the file, with two calls
# of the system each: four times the default means a quarter of them. Still larger pages would make each small commit
# larger, which rewrites a page of the table and of each index. A file that is there keeps its own.
PAGE_BYTES = 16_384
# The writer checkpoints after its callers have been answered; this is only the net below it.
AUTOCHECKPOINT_PAGES = 2000
# What does not fit into the cache goes into the WAL before the commit, some of it twice; a payload of the default
# max_body_bytes need not.
SPILL_PAGES = 2048

_WHAT = "the execution store"


@lru_cache(maxsize=64)
def save_statement(rows: int, zeroed: tuple[int, ...] = ()) -> str:
    """Inserts `rows` records in one statement, or replaces those whose id is there already; keeps `seq`.

    `zeroed`: indices of COLUMNS that get so many zeros as the value says, to be written over.
    """
    marks = "(" + ",".join("zeroblob(?)" if column in zeroed else "?" for column in range(len(COLUMNS))) + ")"
    changes = ",".join(f"{name}=excluded.{name}" for name in COLUMNS[1:])
    return (
        f"INSERT INTO execution ({','.join(COLUMNS)}) VALUES {','.join([marks] * rows)} "
        f"ON CONFLICT (id) DO UPDATE SET {changes}"
    )


def open_database(path: Path) -> sqlite3.Connection:
    """The writer's connection; makes the folder and the file, or brings an older file to VERSION.

    Autocommit: transactions are begun and ended by hand. Any thread may use it, one at a time. Raises StateError with
    the way out.
    """
    try:
        sqlite_file.make_private(path)
        return _open(path)
    except sqlite3.Error as error:
        raise StateError(describe(error, path)) from error
    except OSError as error:
        raise StateError(sqlite_file.unopened(error, path)) from error


def open_reader(path: Path) -> sqlite3.Connection:
    """A second connection that can only read. Raises StateError."""
    try:
        return sqlite_file.connect(path, writes=False)
    except sqlite3.Error as error:
        raise StateError(describe(error, path)) from error


def describe(error: sqlite3.Error, path: Path) -> str:
    """What went wrong with the file, and what to do about it, in one line."""
    return sqlite_file.describe(error, path, _WHAT)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite_file.connect(path)
    try:
        # Only an empty file takes these two; the second lets retention give pages back in slices, where VACUUM would
        # stop the world.
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        sqlite_file.make_durable(connection, path)
        connection.execute(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT_PAGES}")
        connection.execute("PRAGMA journal_size_limit=16777216")
        connection.execute("PRAGMA cache_size=-8192")
        # Before a statement of several rows changes a page, SQLite puts the old one by, to undo the statement alone.
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA cache_spill={SPILL_PAGES}")
        sqlite_file.migrate(connection, path, sqlite_file.Format(_WHAT, APPLICATION_ID, MIGRATIONS[:VERSION]))
        sqlite_file.check_length(connection, path, _WHAT)
    except BaseException:
        connection.close()
        raise
    return connection
