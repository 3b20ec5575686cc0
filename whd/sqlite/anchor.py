"""Whether the files of an open database still stand where they were opened.

SQLite goes on with files that were deleted, moved or replaced (https://www.sqlite.org/howtocorrupt.html, 2.4), and so
would a daemon: what it writes from then on, the next start does not find. Nothing here opens a file: closing one again
would drop the locks that SQLite holds on it (fcntl(2)).
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from pathlib import Path
from typing import Final

# How often files are looked at while nothing is written: within a second it is known that they are gone.
LOOK_S: Final = 0.5
WAY_OUT: Final = "what is written now would not be there at the next start; restart whd"

_SUFFIXES: Final = ("", "-wal", "-shm")

_Identity = tuple[int, int]


class Anchor:
    """The files of a database in WAL mode as they stand now; `fault` says what has become of them since."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the database itself is not there."""
        self._main = str(path)
        self._rights = _rights(path.stat())
        self._files: dict[str, _Identity] = {}
        self._condemned = ""
        for suffix in _SUFFIXES:
            name = f"{path}{suffix}"
            if not suffix or os.path.exists(name):
                self._files[name] = _identity(os.stat(name))

    def fault(self) -> str:
        """What keeps the next start from what is written now, and the way out; "" if nothing does. Costs 5 µs."""
        if self._condemned:
            return self._condemned
        for name, identity in self._files.items():
            try:
                status = os.stat(name)
            except (FileNotFoundError, NotADirectoryError):
                return f"{name}: was deleted or moved away under the daemon; {WAY_OUT}"
            except OSError as error:
                return f"{name}: cannot be reached any more ({error.strerror}); {WAY_OUT}"
            if _identity(status) != identity:
                return f"{name}: is another file than the one that the daemon opened; {WAY_OUT}"
            if name != self._main:
                continue
            if not status.st_size:
                return f"{name}: was emptied under the daemon; {WAY_OUT}"
            if _rights(status) != self._rights and not os.access(name, os.R_OK | os.W_OK):
                return f"{name}: its owner or mode has changed, so that the next start could not open it; undo that"
        return ""

    def condemn(self, fault: str) -> None:
        """Has `fault` say so for good, also if the files should come back: they hold what was not to be kept."""
        self._condemned = fault

    def rescue(self, connection: sqlite3.Connection) -> bool:
        """Where only the WAL has lost its name: copies what it holds into the database. Whether that was so.

        Raises sqlite3.Error.
        """
        try:
            stands = _identity(os.stat(self._main)) == self._files[self._main]
        except OSError:
            return False
        if not stands or os.path.lexists(f"{self._main}-wal"):
            return False
        connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
        return True

    def leave(self, connection: sqlite3.Connection) -> None:
        """Closes the connection, but never that of a database that no longer stands where it was opened.

        The last one that closes deletes the -wal file by its name, which may be another database's by now
        (https://www.sqlite.org/howtocorrupt.html, 4.2). The end of the process closes the descriptors alone.
        """
        if self.fault():
            # A list would not do: the interpreter empties it at its end, and the connection would close after all.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        else:
            connection.close()


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _rights(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid
