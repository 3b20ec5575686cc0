"""`whd …` as a person types it, without a start of the interpreter for each: that would be most of its time.

A process that has imported everything forks for each command. The child has the arguments, the standard streams and the
environment that it was given, runs what `python -m whd` runs, and ends as an interpreter ends. What only a start of its
own can show (what a command imports, under whom it runs) has tests that start one; so have `serve` and its like.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from typing import Any

from tests.running import ROOT, Project

PATIENCE_S = 60.0


def whd(project: Project, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command on a project; a traceback of whd's own is never all right (a flow's stands in its record)."""
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    result = commands().run([*arguments, *folders], stdin)
    assert "Traceback" not in result.stderr
    return result


def document(result: subprocess.CompletedProcess[str]) -> Any:
    """What a command that did not fail printed as JSON."""
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class Commands:
    """The process that forks; `close` ends it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.commands.typed", str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def run(self, arguments: list[str], stdin: str) -> subprocess.CompletedProcess[str]:
        """Runs one command to its end."""
        with contextlib.ExitStack() as stack:
            given, out, err = (stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3))
            given.write(stdin)
            given.seek(0)
            ours, theirs = socket.socketpair()
            stack.enter_context(ours).settimeout(PATIENCE_S)
            with theirs:
                packet = json.dumps({"arguments": arguments, "environ": dict(os.environ)}).encode()
                fds = [given.fileno(), out.fileno(), err.fileno(), theirs.fileno()]
                socket.send_fds(self._control, [packet], fds)
            status = int(ours.makefile().readline())
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess(arguments, status, out.read(), err.read())

    def close(self) -> None:
        self._control.close()
        self._process.wait(PATIENCE_S)


@functools.cache
def commands() -> Commands:
    """The one for all tests, started when it is first needed; conftest.py closes it."""
    return Commands()


# ---- in the process that forks ---------------------------------------------------------------------------------------


def serve(control: socket.socket) -> None:
    """Forks for each packet someone who forks, waits for and tells of one command."""
    _import_everything()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    while True:
        packet, fds, _, _ = socket.recv_fds(control, 1 << 20, 4)
        if not packet:
            return
        if os.fork():
            for fd in fds:
                os.close(fd)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        *streams, answer = fds
        child = os.fork()
        if not child:
            os.close(answer)
            _become(json.loads(packet), streams)
        _, status = os.waitpid(child, 0)
        os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)


def _import_everything() -> None:
    import pkgutil
    from importlib import import_module

    import whd.commands

    for module in pkgutil.iter_modules(whd.commands.__path__, "whd.commands."):
        import_module(module.name)


def _become(task: dict[str, Any], streams: list[int]) -> None:
    """Runs the command as `python -m whd`; does not return."""
    from whd.cli import main

    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(task["environ"])
    sys.argv = [str(ROOT / "whd" / "__main__.py"), *task["arguments"]]
    sys.exit(main())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
