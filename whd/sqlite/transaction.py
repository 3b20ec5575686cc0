"""A transaction that is begun and ended by hand, in one place: the connection itself is in autocommit."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commits at the end of the block, rolls back if it raised. Raises sqlite3.Error."""
    # IMMEDIATE: the lock is taken now, where waiting is possible, and not in the middle (SQLITE_BUSY, no retry).
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk, for one, has SQLite itself roll back (https://www.sqlite.org/lang_transaction.html, 4).
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
