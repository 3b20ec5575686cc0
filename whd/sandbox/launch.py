"""Starts the zygote: the only module of the far side that runs in the daemon. Standard library only."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent.parent
_CODE = "import sys; sys.path.insert(0, {root!r}); from whd.sandbox.zygote import main; main()"
CONTROL_FD = 3


def start_zygote(
    settings: dict[str, Any], *, stderr: int | None = None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A fresh, isolated Python (`-I`) with an empty environment but TZ. Answers the process and the control socket.

    `settings`: {"wall": {…}} (isolation/wall.py). The socket's other end is the process's descriptor 3; the caller
    closes the socket to end the process. Raises OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        process = _spawn(settings, theirs, stderr)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def _spawn(settings: dict[str, Any], theirs: socket.socket, stderr: int | None) -> subprocess.Popen[bytes]:
    environment = {"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}
    code = _CODE.format(root=str(_ROOT))
    # pass_fds keeps the number that the socket has here, and a preexec_fn is not safe beside threads: so the new
    # process moves it to its place itself, first of all.
    if theirs.fileno() != CONTROL_FD:
        code = f"import os; os.dup2({theirs.fileno()}, {CONTROL_FD}); os.close({theirs.fileno()}); {code}"
    return subprocess.Popen(
        [sys.executable, "-I", "-c", code, json.dumps(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=(theirs.fileno(),),
        env=environment,
        cwd="/",
        start_new_session=True,
    )
