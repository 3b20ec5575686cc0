"""The near side of far_side.py: starts a walled zygote as root or as an ordinary user, and asks it for workers."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FAR_SIDE = Path(__file__).with_name("far_side.py")
AS_USER = Path(__file__).with_name("as_user.py")
PROJECT = Path(__file__).resolve().parents[3]
# Neither root nor nobody, so that a mix-up of inside and outside shows.
ORDINARY_UID = 20001
PATIENCE_S = 20.0

# Stands between the tests and the zygote where a daemon's death is wanted.
DAEMON = "import subprocess, sys; subprocess.Popen(sys.argv[2:], pass_fds=[int(sys.argv[1])], env={}).wait()"


@dataclass(frozen=True)
class Held:
    """A worker that waits behind its wall. `pid` is outside's number."""

    inner_pid: int
    pid: int
    pidfd: int
    answer: dict[str, Any]

    def status(self) -> dict[str, str]:
        """/proc/<pid>/status by name."""
        return read_status(self.pid)


class Zygote:
    """A walled zygote; `outer` is the process that was started, `pid` and `pidfd` are the zygote itself."""

    def __init__(
        self,
        uid: int | None = None,
        config: dict[str, Any] | None = None,
        *,
        behind_daemon: bool = False,
        far_side: Path = FAR_SIDE,
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE_S)
        fd = theirs.fileno()
        command = [sys.executable, "-I", "-B", str(far_side), str(PROJECT), str(fd), json.dumps(config or {})]
        if behind_daemon:
            command = [sys.executable, "-I", "-B", "-c", DAEMON, str(fd), *command]
        self.uid = os.geteuid() if uid is None else uid
        self.control = ours
        with theirs:
            self.outer = subprocess.Popen(as_user(uid, command), env={}, pass_fds=[fd])
        try:
            hello, fds = self._receive()
        except BaseException:
            self.outer.kill()
            self.outer.wait(PATIENCE_S)
            ours.close()
            raise
        self.reports: list[list[Any]] = hello["reports"]
        self.inner_pid: int = hello["pid"]
        self.pidfd = fds[0]
        self.pid = outer_pid(self.pidfd)

    def run(self, source: str, **task: Any) -> dict[str, Any]:
        """Executes `source` in a worker; its `value`, or its `error`, and its `exit`."""
        return self.ask({"do": "run", "source": source, **task})

    def hold(self, source: str = "", **task: Any) -> Held:
        """The same, but the worker stays until `reap`."""
        self.control.send(json.dumps({"do": "hold", "source": source, **task}).encode())
        answer, fds = self._receive()
        return Held(answer["pid"], outer_pid(fds[0]), fds[0], answer)

    def reap(self, held: Held) -> int:
        """Lets a held worker go, and answers how it ended."""
        os.close(held.pidfd)
        return int(self.ask({"do": "reap", "pid": held.inner_pid})["exit"])

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        self.control.send(json.dumps(task).encode())
        return self._receive()[0]

    def close(self) -> None:
        self.control.close()
        os.close(self.pidfd)
        self.outer.kill()
        self.outer.wait(PATIENCE_S)

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        packet, fds, _, _ = socket.recv_fds(self.control, 1 << 20, 4)
        if not packet:
            raise AssertionError(f"the zygote ended with {self.outer.wait(PATIENCE_S)}")
        return json.loads(packet), fds


def as_user(uid: int | None, command: list[str]) -> list[str]:
    """The command as another user runs it, None for the own; only root can do that."""
    return command if uid is None else [sys.executable, "-I", "-B", str(AS_USER), str(PROJECT), str(uid), *command]


@cache
def why_unreadable(uid: int) -> str:
    """Why the user cannot run the project's far side with this interpreter; "" if it can."""
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); import whd.sandbox.isolation; open({str(FAR_SIDE)!r})"
    command = as_user(uid, [sys.executable, "-I", "-B", "-c", code])
    probe = subprocess.run(command, capture_output=True, text=True, cwd="/", env={})
    return probe.stderr.strip().rpartition("\n")[2] if probe.returncode else ""


def outer_pid(pidfd: int) -> int:
    """The number by which this process's pid namespace knows the process (proc(5), fdinfo)."""
    text = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    return int(re.findall(r"^Pid:\s*(-?\d+)", text, re.MULTILINE)[0])


def read_status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def has_ended(pidfd: int) -> bool:
    """Waits until the process has ended (a pidfd then reads as ready, pidfd_open(2)); false if it does not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(1000 * PATIENCE_S))
