"""Who else can read a file with secrets, and whether the daemon could read it at its next start.

A file that others may read is closed to them all the same where one folder on the way is (path_resolution(7)): what
counts is the whole way.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final

from ..model.snapshot import Fault
from ..ownership import READ, SEARCH, Account, described
from .tree import FileKind, TreeEntry, displayed


@dataclass(frozen=True, slots=True)
class Rights:
    """What is wrong with a file's. `way_to_close`: the command that closes it to others, "" where it is closed.

    `fault`: the daemon could not read it.
    """

    way_to_close: str = ""
    fault: Fault | None = None

    @property
    def signature(self) -> tuple[int, ...]:
        """Changes whenever something begins or ceases to be wrong."""
        return (bool(self.way_to_close), self.fault is not None)


FINE: Final = Rights()


class RightsReview:
    """Looks at one file after another for one update: what is known of a folder holds that long.

    `daemon`: the account that is to read the files where that is not this process's own, which the kernel answers for.
    """

    def __init__(self, daemon: Account | None) -> None:
        self._reader = daemon or Account.current()
        self._is_another = daemon is not None and daemon != Account.current()
        self._open_folders: dict[str, bool] = {}

    def of_file(self, entry: TreeEntry, status: os.stat_result) -> Rights:
        """What is wrong with the rights of a file that is there."""
        fault = None
        if self._is_another and not self._reader.may(status, READ):
            fault = self._fault(entry.path, status)
        holds_secrets = entry.kind is FileKind.WEBHOOK
        if not holds_secrets or not status.st_mode & stat.S_IROTH or not self._is_open(entry.path):
            return FINE if fault is None else Rights("", fault)
        return Rights(self._reader.way_to_close(displayed(entry.path), status), fault)

    def of_folder(self, path: str, *, is_root: bool) -> Fault | None:
        """Why another account that is the daemon's could not read what is in a folder; None if it could.

        `is_root`: all folders above count too.
        """
        if not self._is_another:
            return None
        above = _above(os.path.realpath(path)) if is_root else []
        for folder, access in (*((folder, SEARCH) for folder in above), (path, READ | SEARCH)):
            try:
                status = os.stat(folder)
            except OSError:
                return None  # who lists it says so
            if not self._reader.may(status, access):
                return self._fault(folder, status)
        return None

    def _fault(self, path: str, status: os.stat_result) -> Fault:
        what = f"the daemon, which runs as {self._reader.name}, cannot read this ({described(status)})"
        return Fault(displayed(path), 0, "", what, self._reader.way_to_read(displayed(path), status))

    def _is_open(self, path: str) -> bool:
        """Whether everybody may come to a file: all folders above may be searched."""
        if os.path.islink(path):
            return _everybody_enters(_above(os.path.realpath(path)))
        folder = os.path.dirname(path)
        if folder not in self._open_folders:
            real = os.path.realpath(folder)
            self._open_folders[folder] = _everybody_enters([*_above(real), real])
        return self._open_folders[folder]


def _everybody_enters(folders: list[str]) -> bool:
    try:
        return all(os.stat(folder).st_mode & stat.S_IXOTH for folder in folders)
    except OSError:
        return False


def way_to_read(path: str) -> str:
    """What lets this process read a file or folder that is closed to it: what is expected, and the command."""
    account = Account.current()
    for folder in _above(os.path.realpath(path)):
        try:
            status = os.stat(folder)
        except OSError:
            break
        if not os.access(folder, os.X_OK):
            return f"a folder that {account.name} may enter: {account.way_to_read(displayed(folder), status)}"
    try:
        status = os.stat(path)
    except OSError:
        return f"a file that {account.name} may read"
    what = "folder" if stat.S_ISDIR(status.st_mode) else "file"
    return f"a {what} that {account.name} may read: {account.way_to_read(displayed(path), status)}"


def _above(path: str) -> list[str]:
    """All folders above, from the root on."""
    folders = []
    while (folder := os.path.dirname(path)) != path:
        folders.append(folder)
        path = folder
    return folders[::-1]
