"""The control socket state/control.sock: how commands speak to the running daemon.

One request a connection: a line of JSON {"command", "arguments"}, answered by a line {"result"} or {"error"}. Whoever
may open the socket may do everything; state/ is 0700 and the socket 0600, as unix(7) has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from .errors import StateError, WhdError

log = logging.getLogger("whd.control")

SOCKET_NAME = "control.sock"
MAX_LINE_BYTES = 256 * 1024 * 1024

Dispatch = Callable[[str, dict[str, Any]], Awaitable[Any]]


class ControlServer:
    """Serves the socket; `dispatch(command, arguments)` does the work and raises WhdError for the asker."""

    def __init__(self, state: Path, dispatch: Dispatch) -> None:
        self._path = state / SOCKET_NAME
        self._dispatch = dispatch
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Starts to listen. A socket left by a daemon that died is replaced: state/ is locked by us."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short_path(self._path) as name:
            old_mask = os.umask(0o177)
            try:
                listener.bind(name)
            finally:
                os.umask(old_mask)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Stops and removes the socket."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                answer = await self._answer(line)
                writer.write(json.dumps(answer).encode("ascii") + b"\n")
                await writer.drain()
        except (OSError, ValueError) as error:
            log.info("a command went away: %s", error)
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return {"result": await self._dispatch(request["command"], request.get("arguments", {}))}
        except WhdError as error:
            return {"error": error.log_detail}
        except (ValueError, KeyError, TypeError) as error:
            log.exception("a command failed")
            return {"error": f"the daemon could not do this: {error!r}"}


def ask(state: Path, command: str, arguments: dict[str, Any]) -> Any:
    """Asks the running daemon. Raises StateError when there is none, WhdError with what it said."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        try:
            with _short_path(state / SOCKET_NAME) as name:
                connection.connect(name)
        except OSError as error:
            is_denied = isinstance(error, PermissionError)
            way_out = (
                "ask as the daemon's own user" if is_denied else "`whd serve` starts one, --state names its folder"
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


@contextlib.contextmanager
def _short_path(path: Path) -> Any:
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
