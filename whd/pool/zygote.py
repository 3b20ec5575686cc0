"""The daemon's handle on the zygote: asks it to fork workers, hears of their ends.

The zygote's own side is sandbox/zygote.py. Messages are one JSON text each over SOCK_SEQPACKET (unix(7)), descriptors
ride along as SCM_RIGHTS. The zygote is trusted (it runs nothing of a flow) but may die; then every worker dies with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from typing import Any, Protocol

from ..errors import ConfigError, way_out
from ..sandbox.launch import start_zygote

log = logging.getLogger("whd.pool")

MAX_MESSAGE_BYTES = 65_536
# How many forks may be under way: enough to keep the zygote busy, few enough for the socket's queue.
MAX_FORKS_IN_FLIGHT = 16


class ZygoteListener(Protocol):
    """Who hears what the zygote says."""

    def on_forked(self, worker: int, pidfd: int) -> None:
        """The worker's process runs; `pidfd` belongs to the listener."""

    def on_fork_failed(self, worker: int, reason: str) -> None:
        """There is no such process."""

    def on_exited(self, worker: int, status: int) -> None:
        """The process is gone; `status` as waitpid(2) gives it."""

    def on_zygote_lost(self) -> None:
        """The zygote is gone, and every worker with it."""


class Zygote:
    """One zygote process. After `start`: `layers`, what the wall reported, and `failures`, what its canary could do."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: dict[str, Any], listener: ZygoteListener) -> None:
        self._loop = loop
        self._config = config
        self._listener = listener
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: deque[tuple[int, socket.socket]] = deque()
        self._in_flight = 0
        self._ready: asyncio.Future[None] = loop.create_future()
        self.layers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.pid = 0

    async def start(self, timeout_s: float = 30.0) -> None:
        """Starts the process and waits until it serves. Raises ConfigError."""
        try:
            process, self._socket = start_zygote(self._config)
        except OSError as error:
            what = f"{sys.executable} cannot be started: {error.strerror}{way_out(error)}"
            raise ConfigError(f"the sandbox's zygote did not start: {what}") from None
        self.pid = process.pid
        self._process = process
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._on_readable)
        try:
            await asyncio.wait_for(self._ready, timeout_s)
        except (TimeoutError, ConnectionError) as error:
            self.close()
            raise ConfigError(f"the sandbox's zygote did not start: {error or 'timed out'}") from None

    def fork(self, worker: int, their_socket: socket.socket) -> None:
        """Asks for a worker; the answer comes as on_forked or on_fork_failed. Takes over `their_socket`."""
        self._waiting.append((worker, their_socket))
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._socket is not None and self._in_flight < MAX_FORKS_IN_FLIGHT:
            worker, theirs = self._waiting[0]
            message = json.dumps({"op": "fork", "worker": worker}).encode("ascii")
            try:
                socket.send_fds(self._socket, [message], [theirs.fileno()])
            except BlockingIOError:
                return  # an answer that is under way will call again
            except OSError:
                return  # the zygote died: on_readable sees the end
            self._waiting.popleft()
            theirs.close()
            self._in_flight += 1

    def _on_readable(self) -> None:
        while self._socket is not None:
            try:
                data, descriptors, _flags, _address = socket.recv_fds(self._socket, MAX_MESSAGE_BYTES, 1)
            except BlockingIOError:
                break
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._lost()
                return
            self._on_message(json.loads(data), descriptors)
        self._send_waiting()

    def _on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        op = message["op"]
        if op == "forked":
            self._in_flight -= 1
            os.set_inheritable(descriptors[0], False)
            self._listener.on_forked(message["worker"], descriptors[0])
        elif op == "exited":
            self._listener.on_exited(message["worker"], message["status"])
        elif op == "fork_failed":
            self._in_flight -= 1
            self._listener.on_fork_failed(message["worker"], message["reason"])
        elif op == "ready":
            self.layers = message["layers"]
            self.failures = message["failures"]
            if not self._ready.done():
                self._ready.set_result(None)

    def _lost(self) -> None:
        self.close()
        if not self._ready.done():
            self._ready.set_exception(ConnectionError("it ended; its standard error says why"))
        else:
            self._listener.on_zygote_lost()

    def close(self) -> None:
        """Closes the socket: the zygote ends its workers and itself. Reaps it without waiting long."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        for _worker, theirs in self._waiting:
            theirs.close()
        self._waiting.clear()
        if self._process is not None:
            self._process.poll()

    async def wait_closed(self, timeout_s: float = 5.0) -> None:
        """Waits for the process after `close`, and kills it when it will not go."""
        deadline = self._loop.time() + timeout_s
        while self._process is not None and self._process.poll() is None:
            if self._loop.time() > deadline:
                self._process.kill()
            await asyncio.sleep(0.01)
