"""The daemon's end of the control socket (client.py says what travels over it)."""

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

from ..errors import WhdError
from .client import SOCKET_NAME, short_path

log = logging.getLogger("whd.control")

MAX_LINE_BYTES = 256 * 1024 * 1024
LOOK_S = 1.0

_Identity = tuple[int, int]
Dispatch = Callable[[str, dict[str, Any]], Awaitable[Any]]


class ControlServer:
    """Serves the socket; `dispatch(command, arguments)` does the work and raises WhdError for the asker."""

    def __init__(self, state: Path, dispatch: Dispatch) -> None:
        # Absolute: the kernel keeps the name as it was given, which is how a command finds out that it is gone.
        self._path = (state / SOCKET_NAME).absolute()
        self._dispatch = dispatch
        self._server: asyncio.Server | None = None
        self._folder: _Identity | None = None
        self._own: _Identity | None = None
        self._look: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts to listen. A socket left by a daemon that died is replaced: state/ is locked by us."""
        await self._listen()
        self._folder = _identity(self._path.parent)
        self._look = asyncio.get_running_loop().create_task(self._stay())

    async def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(self._path) as name:
                old_mask = os.umask(0o177)
                try:
                    listener.bind(name)
                finally:
                    os.umask(old_mask)
        except OSError:
            listener.close()
            raise
        self._own = _identity(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE_BYTES)

    async def _stay(self) -> None:
        """Makes the socket again when it was deleted, lest nobody can ask what else is gone; the folder is not made."""
        while True:
            await asyncio.sleep(LOOK_S)
            if _identity(self._path) is not None or _identity(self._path.parent) != self._folder:
                continue
            if self._server is not None:
                self._server.close()
            try:
                await self._listen()
                log.warning("%s was deleted under the daemon; it is there again", self._path)
            except OSError as error:
                log.warning("%s was deleted under the daemon and cannot be made again: %s", self._path, error)

    async def close(self) -> None:
        """Stops and removes the socket, unless another one stands there by now."""
        if self._look is not None:
            self._look.cancel()
        if self._server is not None:
            is_own = _identity(self._path) == self._own
            self._server.close()
            if is_own:
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


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
