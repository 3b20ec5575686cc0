"""A SQLite file of whd's under state/: made private, in WAL mode, brought to this version, its faults in words.

What the file holds is its store's business. https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .. import ownership
from ..errors import StateError

_BUSY_MS = 5000
_MAY_BE_CLOSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR)


@dataclass(frozen=True, slots=True)
class Format:
    """What a file should be. `what`: its name in errors; `migrations[n]` leads from version n to n + 1.

    `application_id` tells whd's files from others (file(1) shows it), and one store's from another's.
    """

    what: str
    application_id: int
    migrations: tuple[str, ...]


def describe(error: sqlite3.Error, path: Path, what: str) -> str:
    """What went wrong with the file, and what to do about it, in one line."""
    # The low byte is the primary code (https://www.sqlite.org/rescode.html); errors of the module itself have none.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, what, str(error))
    closed = ownership.closed_to_us(path.parent, *(path.with_name(path.name + end) for end in ("", "-wal", "-shm")))
    if closed and code in _MAY_BE_CLOSED:
        return f"{path}: {what} cannot be used ({error}); {closed}"
    remedy = {
        sqlite3.SQLITE_FULL: "free space on its disk",
        sqlite3.SQLITE_IOERR: "look at its disk: space, quota, health",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable for this user",
        sqlite3.SQLITE_PERM: "make the file and its folder writable for this user",
        sqlite3.SQLITE_CANTOPEN: "make the file and its folder accessible for this user",
        sqlite3.SQLITE_BUSY: "another program holds it; end that one",
        sqlite3.SQLITE_LOCKED: "another program holds it; end that one",
    }.get(code, "see the log")
    return f"{path}: {what} cannot be used ({error}); {remedy}"


def unopened(error: OSError, path: Path) -> str:
    """Why a file could not be made or opened, and the way out, in one line."""
    closed = ownership.closed_to_us(path.parent, path)
    return f"{path}: cannot be made or opened: {error.strerror or error}" + (f"; {closed}" if closed else "")


def damaged(path: Path, what: str, why: str) -> str:
    """The text for a file whose bytes are wrong."""
    return (
        f"{path}: {what} is damaged ({why}); move it and its -wal and -shm files away and start "
        f"again with an empty store. `sqlite3 FILE .recover` may save records from what was moved"
    )


def make_private(path: Path) -> None:
    """Makes the file (0600) and its folder (0700) if they are missing, and closes what is open to others.

    Raises OSError.
    """
    folder = path.parent
    ownership.make_folder(folder)
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
        # `whd run` by root before the daemon's first start must not leave a file that the daemon cannot open.
        ownership.give_to_folders_owner(descriptor, folder)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
    _sync_folder(folder)


def connect(path: Path, *, writes: bool = True) -> sqlite3.Connection:
    """A connection in autocommit mode that any thread may use, one at a time. Raises sqlite3.Error.

    One that only reads makes no file where there is none: it would stand in the way of the one that was meant.
    """
    # https://www.sqlite.org/uri.html
    name = str(path) if writes else f"file:{quote(os.fsencode(path))}?mode=rw"
    connection = sqlite3.connect(name, uri=not writes, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        if not writes:
            connection.execute("PRAGMA query_only=ON")
            # Opens the -wal and -shm files now: at the first read they may stand somewhere else.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def make_durable(connection: sqlite3.Connection, path: Path) -> None:
    """WAL mode, an fsync with every commit. Raises StateError where WAL does not work."""
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise StateError(f"{path}: SQLite's WAL mode does not work here; put state/ on a local disk")
    # FULL: every commit ends with an fsync of the WAL (https://www.sqlite.org/pragma.html#pragma_synchronous).
    connection.execute("PRAGMA synchronous=FULL")


def migrate(connection: sqlite3.Connection, path: Path, form: Format) -> None:
    """Brings the file to this version. Raises StateError for another program's file or a newer whd's."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    newest = len(form.migrations)
    if application != form.application_id and (application or version or tables):
        raise StateError(f"{path}: this SQLite file is not whd's; move it away or choose another --state")
    if version > newest:
        raise StateError(
            f"{path}: written by a newer whd (store version {version}, this one knows {newest}); "
            f"run that version again, or move the file away to start with an empty store"
        )
    for number in range(version, newest):
        # One transaction each, version included: a crash in between leaves the file at one version or the next.
        connection.executescript(
            f"BEGIN IMMEDIATE;{form.migrations[number]};"
            f"PRAGMA application_id={form.application_id};PRAGMA user_version={number + 1};COMMIT;"
        )


def check_length(connection: sqlite3.Connection, path: Path, what: str) -> None:
    """Finds a file that was cut short now instead of at some later read, without reading the whole.

    Raises StateError.
    """
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if not busy and path.stat().st_size < pages * page_bytes:
        raise StateError(damaged(path, what, "it was cut short"))


def _sync_folder(folder: Path) -> None:
    """Makes the new file's name as durable as its contents will be (fsync(2), on directories)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Some file systems refuse fsync on folders (EINVAL); no more can be had from them.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
