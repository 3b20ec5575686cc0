"""The folder state/: made private, locked by the process that uses it."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from .. import ownership
from ..errors import StateError

LOCK_NAME = "lock"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where everything lies: the three folders of CONTRACT 1."""

    config: Path
    flows: Path
    state: Path

    def command_line(self, command: str) -> str:
        """A command of whd on these folders, to be typed where this process was started."""
        options = [
            f"--{name} {shlex.quote(str(path))}"
            for name, path in (("config", self.config), ("flows", self.flows), ("state", self.state))
            if str(path) != name
        ]
        return " ".join((_own_name(), command, *options))


def _own_name() -> str:
    """`whd`, or the path with which it was called where the shell finds none, or another one, by that name."""
    called = sys.argv[0]
    if os.path.basename(called) != "whd" or shutil.which("whd") == os.path.abspath(called):
        return "whd"
    return shlex.quote(called)


class StateLock:
    """Holds state/ for this process, until `release` or its end (flock(2), so that a kill leaves no stale lock)."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._file = self._folder = -1

    def acquire(self) -> None:
        """Makes the folder (0700) if need be and locks it. Raises StateError, naming the holder's pid."""
        try:
            ownership.make_folder(self.state)
            if stat.S_IMODE(self.state.stat().st_mode) != 0o700:
                self.state.chmod(0o700)
            self._file = os.open(self.state / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            ownership.give_to_folders_owner(self._file, self.state)
        except OSError as error:
            self.release()
            way_out = ownership.closed_to_us(self.state, self.state / LOCK_NAME) or "--state names another"
            raise StateError(f"{self.state}: cannot be used as the state folder: {error.strerror}; {way_out}") from None
        # The folder as well: the file may have been deleted under its holder.
        self._folder = os.open(self.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for descriptor in (self._file, self._folder):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise StateError(
                f"{self.state} is in use by the whd process with pid {pid}; end it, or --state names another folder"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Gives it back; harmless if it is not held."""
        for descriptor in (self._file, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._folder = -1

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()
