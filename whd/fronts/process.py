"""One front's process as the hub sees it: started, spoken to, given connections, ended, started again.

A front is executed afresh, not forked: the hub has threads. It inherits its end of the link, its end of the socket over
which connections are handed to it (handover.py), and the shared counters.
"""

from __future__ import annotations

import asyncio
import enum
import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..engine.state import Paths
from ..engine.status import executions_row
from ..errors import ConfigError
from .counters import Count, Counters
from .handover import receive_connections, send_connection
from .link import Handlers, Link, Message

log = logging.getLogger("whd.fronts")

_ROOT = Path(__file__).resolve().parent.parent.parent
_CODE = "import sys; sys.path.insert(0, {root!r}); from whd.fronts.front import main; main()"

# The hub's alone to hear; `systemctl kill` and the like send them to every process of the service.
HUB_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

START_TIMEOUT_S = 60.0
# What a front does not take of the connections waits in the socket's queue, which is bounded.
SEND_BUFFER_BYTES = 1_048_576

# After so many pings in a row without an answer, one a second, a front counts as stuck: others go before it.
STUCK_AFTER = 5


class FrontState(enum.Enum):
    """Where a front stands; MOVES says what may follow what."""

    DOWN = "not running"
    STARTING = "started, does not serve yet"
    SERVING = "serves"
    DRAINING = "answers what is in flight"


MOVES: dict[FrontState, frozenset[FrontState]] = {
    FrontState.DOWN: frozenset({FrontState.STARTING}),
    FrontState.STARTING: frozenset({FrontState.SERVING, FrontState.DOWN}),
    FrontState.SERVING: frozenset({FrontState.DRAINING, FrontState.DOWN}),
    FrontState.DRAINING: frozenset({FrontState.DOWN}),
}


class FrontProcess:
    """Front number `number`, whatever process it is now. Its owner calls `start`, `ready`, and `reap` once `lost`."""

    def __init__(self, number: int, fronts: int, paths: Paths, counters: Counters) -> None:
        self.number = number
        self.state = FrontState.DOWN
        self.link: Link | None = None
        # Counts the processes that have had this number.
        self.life = 0
        self.handed = 0
        # Pings in a row that it has not answered.
        self.missed = 0
        # Whether what is saved must be live in it before it is said to be.
        self.hears = False
        self.lost = asyncio.Event()
        self._fronts = fronts
        self._paths = paths
        self._counters = counters
        self._process: subprocess.Popen[bytes] | None = None
        # Our end, and the front's: what it has not taken can be taken back.
        self._connections: socket.socket | None = None
        self._their_connections: socket.socket | None = None
        self._ready: asyncio.Future[None] | None = None

    def move(self, state: FrontState) -> None:
        """Changes the state along MOVES; anything else is a defect."""
        if state not in MOVES[self.state]:
            raise AssertionError(f"front {self.number}: {self.state.name} to {state.name}")
        self.state = state

    @property
    def pid(self) -> int:
        """The process, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def answers(self) -> bool:
        """Whether it is not stuck, as far as the pings show."""
        return self.missed < STUCK_AFTER

    @property
    def running(self) -> int:
        """How many executions hold a slot there, as it has counted."""
        return self._counters.get(self.number, Count.RUNNING)

    @property
    def connections(self) -> int:
        """How many it has that have not ended."""
        return self.handed - self._counters.get(self.number, Count.CLOSED)

    async def start(self, handlers: Handlers) -> Link:
        """Starts the process; `ready` awaits that it serves. `handlers` answer what it says. Raises OSError."""
        self.move(FrontState.STARTING)
        self.life += 1
        self.handed = self.missed = 0
        self.hears = False
        self.lost = asyncio.Event()
        self._ready = asyncio.get_running_loop().create_future()
        ours, theirs = socket.socketpair()
        connections, their_connections = socket.socketpair()
        try:
            self._spawn(theirs, their_connections)
        except OSError:
            ours.close()
            connections.close()
            their_connections.close()
            self.move(FrontState.DOWN)
            raise
        finally:
            theirs.close()
        their_connections.setblocking(False)
        self._their_connections = their_connections
        connections.setblocking(False)
        connections.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._connections = connections
        link = self.link = Link({**handlers, "ready": self._on_ready, "failed": self._on_failed}, self._on_lost)
        await link.connect(ours)
        return link

    def _spawn(self, theirs: socket.socket, connections: socket.socket) -> None:
        descriptors = {
            "link": theirs.fileno(),
            "connections": connections.fileno(),
            "counters": self._counters.descriptor,
        }
        config = {
            "front": self.number,
            "fronts": self._fronts,
            "config": str(self._paths.config),
            "flows": str(self._paths.flows),
            "state": str(self._paths.state),
            **descriptors,
        }
        # Inherited: one that comes before the front has its handlers waits for them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HUB_SIGNALS)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE.format(root=str(_ROOT)), json.dumps(config)],
                stdin=subprocess.DEVNULL,
                pass_fds=tuple(descriptors.values()),
                # ^C in a terminal is the hub's to hear.
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    async def ready(self) -> None:
        """Waits until it serves. Raises ConfigError with what keeps it from that."""
        assert self._ready is not None
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), START_TIMEOUT_S)
        except TimeoutError:
            raise ConfigError(f"front {self.number} did not start within {START_TIMEOUT_S:g} s") from None

    def _on_ready(self, message: Message) -> None:
        # From here on who saves something waits for it too; it serves once it has taken in what was saved before.
        self.hears = True
        message.link.ask(self._on_heard, "settle")

    def _on_heard(self, head: dict[str, Any] | None, _value: bytes | None) -> None:
        if head is not None and self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _on_failed(self, message: Message) -> None:
        self._fail(message.head["text"])

    def _on_lost(self) -> None:
        self.link = None
        self.hears = False
        self._fail(f"front {self.number} ended while it started; its log says why")
        self.lost.set()

    def _fail(self, text: str) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ConfigError(text))
            # Who waits for it hears of it; if nobody does, `lost` is enough.
            self._ready.exception()

    def hand(self, sock: socket.socket, listener: int, *, is_refused: bool = False) -> bool:
        """Hands a connection over and closes it here. False if the front takes none now: it is still the caller's.

        `listener` is the number of its name (handover.listener_names).
        """
        if self._connections is None:
            return False
        try:
            send_connection(self._connections, sock, listener, is_refused=is_refused)
        except OSError:
            return False
        sock.close()
        self.handed += 1
        return True

    def take_back(self) -> Iterator[tuple[socket.socket, int]]:
        """The connections that were handed over and have not been taken, with their listeners; the caller's again."""
        if self._their_connections is not None:
            for handed in receive_connections(self._their_connections):
                # Our end is open: there is no end of them.
                assert handed is not None
                self.handed -= 1
                if handed.sock is not None:
                    yield handed.sock, handed.listener

    def end_connections(self) -> None:
        """No more connections come: the front sees the end of them."""
        for end in (self._connections, self._their_connections):
            if end is not None:
                end.close()
        self._connections = self._their_connections = None

    def kill(self) -> None:
        """Ends the process at once; its zygote and workers end by themselves."""
        if self._process is not None:
            self._process.kill()

    async def reap(self, patience_s: float = 0.0) -> str:
        """Waits for the process's end, kills it if that takes longer; how it ended, in words."""
        self.end_connections()
        if self.link is not None:
            self.link.close()
            self.link = None
        process, self._process = self._process, None
        status = 0
        if process is not None:
            ended = asyncio.get_running_loop().run_in_executor(None, process.wait)
            await asyncio.wait({ended}, timeout=patience_s)
            if not ended.done():
                process.kill()
            status = await ended
        if self.state is not FrontState.DOWN:
            self.move(FrontState.DOWN)
        self.handed = 0
        return f"by signal {-status}" if status < 0 else f"with status {status}"

    def row(self) -> dict[str, Any]:
        """This front's row in the status document."""
        return {
            "number": self.number,
            "pid": self.pid,
            "state": self.state.name.lower(),
            "answers": self.answers,
            "starts": self.life,
            "connections": self.connections,
            "executions": executions_row(self._counters.executions(self.number)),
        }
