"""The control socket state/control.sock: how commands speak to the running daemon.

One request a connection: a line of JSON {"command", "arguments"}, answered by a line {"result"} or {"error"}. Who
may open the socket may do everything; state/ is 0700 and the socket 0600, as unix(7) has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import StateError, WhdError

SOCKET_NAME = "control.sock"
# Rows of one answer of `executions.list`.
MAX_LIST = 10_000


def ask(state: Path, command: str, arguments: dict[str, Any]) -> Any:
    """Asks the running daemon. Raises StateError when there is none, WhdError with what it said."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        try:
            with short_path(state / SOCKET_NAME) as name:
                connection.connect(name)
        except OSError as error:
            way_out = "`whd serve` starts one, --state names its folder"
            if isinstance(error, PermissionError):
                way_out = "ask as the daemon's own user"
            elif has_lost_its_name(state / SOCKET_NAME):
                way_out = (
                    "one still runs that had its state here, and the folder was deleted or moved away under it: "
                    "it refuses async calls, and what it records is lost; restart it"
                )
            raise StateError(f"no daemon answers on {state / SOCKET_NAME}: {error.strerror}; {way_out}") from None
        connection.sendall(json.dumps({"command": command, "arguments": arguments}).encode("ascii") + b"\n")
        parts = []
        while part := connection.recv(1_048_576):
            parts.append(part)
    if not parts:
        raise StateError("the daemon ended before it answered")
    answer = json.loads(b"".join(parts))
    if "error" in answer:
        raise WhdError(answer["error"])
    return answer["result"]


def base_url(addresses: Sequence[str]) -> str:
    """The start of a URL that leads to the daemon from its own machine; "" where it listens nowhere.

    An address that stands for all of the machine's is no host that a client can name. Behind a unix socket any host is.
    """
    if not addresses:
        return ""
    address = addresses[0]
    if address.startswith("unix:"):
        return "http://localhost"
    host, _, port = address.rpartition(":")
    return f"http://{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"


def has_lost_its_name(path: Path) -> bool:
    """Whether a process listens on a socket that was bound to this name, which leads nowhere now (unix(7))."""
    try:
        # Raises too where the working folder is gone.
        wanted = os.fsencode(path.absolute())
        with open("/proc/net/unix", "rb") as table:
            # Num RefCount Protocol Flags Type St Inode Path; the flag is __SO_ACCEPTCON.
            rows = [row.split(None, 7) for row in table]
    except OSError:
        return False
    return any(len(row) == 8 and row[3] == b"00010000" and row[7].rstrip(b"\n") == wanted for row in rows)


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for the socket that fits sun_path, which holds 107 bytes (unix(7)), however deep state/ lies."""
    name = str(path)
    if len(os.fsencode(name)) < 108:
        yield name
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
