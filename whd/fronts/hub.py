"""The hub: starts the fronts and starts again the one that dies, accepts connections and hands them out, owns state/.

It speaks no HTTP and runs no flow. Should it die, the fronts end with it (front.py); the service manager starts all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ..engine.http_engine import ENGINE_PHASES, LAST_ANSWERS_S, Addresses, EnginePhase
from ..engine.report import ExecutionsReport, Report, fault_texts, settings_report, watch_report
from ..engine.state import Paths, StateLock
from ..errors import ConfigError, Overloaded, StateError
from ..handlers.context import problem_response
from ..http.listeners import Acceptor, open_listeners
from ..http.server import REFUSED_AT_ONCE, refusal_bytes, refuse
from ..model.options import Options
from ..model.snapshot import Snapshot
from ..pool.cores import slot_count
from ..saved import Saved
from ..settings.reload import Reloader
from ..store import ExecutionStore, open_store
from .counters import MAX_CLIENTS, Count, Counters
from .handover import listener_names
from .leases import SlotLeases
from .operations import Operations
from .process import FrontProcess, FrontState
from .sessions import FrontSession, Supervisor

log = logging.getLogger("whd.fronts")

# After a front that ended soon after its start, the next one waits, twice as long each time.
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
SOON_S: Final = 10.0
# Connections that no front takes at the moment are offered again.
OFFER_AGAIN_S: Final = 0.01
MAX_UNHANDED: Final = 1_024
# How often a front is asked whether its loop turns, and after how many questions without an answer it is ended.
PING_S: Final = 1.0
MAX_MISSED: Final = 60
# How often the fronts are sent the state of what is under state/, if it has changed.
SEND_STATE_S: Final = 0.1
_NO_FAULT: Final[dict[str, Any]] = {
    "fault": "",
    "is_detached": False,
    "is_full": False,
    "is_behind": False,
    "saved_fault": "",
    "is_saved_detached": False,
}
# With fewer slots than fronts, how long one has them while another waits.
ROTATE_S: Final = 0.1
UNIX_MODE: Final = 0o666
# A front ends by itself once it has drained; one that does not is ended.
END_PATIENCE_S: Final = 3.0


class Hub:
    """What serves with several fronts (Serving in daemon/daemon.py); made by `open`."""

    def __init__(self, paths: Paths, fronts: int) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self.paths = paths
        self.phase = EnginePhase.STARTING
        # The first front reads the same files, compiles their flows too, and logs what it finds.
        logging.getLogger("whd.settings").setLevel(logging.CRITICAL)
        self.reloader = Reloader(str(paths.config), str(paths.flows))
        self._lock = StateLock(paths.state)
        self._counters = Counters.create(fronts)
        self.fronts = [FrontProcess(number, fronts, paths, self._counters) for number in range(fronts)]
        self.leases = SlotLeases(0)
        self.supervisor = Supervisor(loop, self.reloader, self.leases, self.fronts)
        self.store: ExecutionStore
        # What `start` took of state/, to be let go of in reverse.
        self._at_end = contextlib.AsyncExitStack()
        self._operations = Operations(self)
        self._acceptors: list[Acceptor] = []
        self._refusal = refusal_bytes(problem_response(Overloaded("too many connections")))
        self._unhanded: deque[tuple[socket.socket, int]] = deque()
        self._listener_names: tuple[str, ...] = ()
        self._clients: dict[str, int] = {}
        self._supervisors: list[asyncio.Task[None]] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._sent_state: dict[str, Any] = dict(_NO_FAULT)
        self._left = 0
        self._stopping = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, paths: Paths, fronts: int, addresses: Addresses) -> AsyncIterator[Hub]:
        """Starts everything, at the end takes it down; also what is up when the start fails.

        Raises ConfigError or StateError; at the end StateError if records were lost.
        """
        hub = cls(paths, fronts)
        try:
            await hub._start(addresses)
            yield hub
        finally:
            await hub._close()

    def move(self, phase: EnginePhase) -> None:
        """Changes the phase along ENGINE_PHASES, anything else is a defect; with SERVING all fronts begin to serve."""
        if phase not in ENGINE_PHASES[self.phase]:
            raise AssertionError(f"{self.phase.name} to {phase.name}")
        self.phase = phase
        if phase is EnginePhase.SERVING:
            for link in self.supervisor.links():
                link.tell("go")

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return [acceptor.listener.address for acceptor in self._acceptors]

    async def dispatch(self, command: str, arguments: dict[str, Any]) -> Any:
        return await self._operations.dispatch(command, arguments)

    def report(self) -> Report:
        """What is known without asking the fronts: the counters in shared memory, and what the hub itself holds."""
        executions = self._counters.executions()
        executions = replace(executions, active=executions.active + self._left, slots=self.leases.total)
        return replace(self.own_report(), executions=executions)

    def own_report(self) -> Report:
        """What is one for all fronts; the rest each front says of itself."""
        snapshot = self.reloader.snapshot
        return Report(
            settings=settings_report(snapshot),
            watch=watch_report(self.reloader.watched_count, self.reloader.polled),
            executions=ExecutionsReport(slots=self.leases.total),
            store=self.store.counters(),
            saved_fault=self.supervisor.saved.fault,
            faults=fault_texts(snapshot),
        )

    # ---- the start ---------------------------------------------------------------------------------------------------

    async def _start(self, addresses: Addresses) -> None:
        self._lock.acquire()
        self._at_end.callback(self._lock.release)
        await self.reloader.start()
        wanted = addresses(self.reloader.snapshot)
        names = self._listener_names = listener_names(wanted)
        await self._open_state()
        self.leases.set_total(slot_count(self.reloader.snapshot.options))
        self._number_clients(self.reloader.snapshot)
        self.reloader.on_swap.append(self._on_swap)
        started = [self._loop.create_future() for _front in self.fronts]
        self._supervisors = [
            self._loop.create_task(self._supervise(front, ready))
            for front, ready in zip(self.fronts, started, strict=True)
        ]
        await asyncio.gather(*started)
        # Names are looked up on the loop: nothing is served yet.
        listeners = open_listeners(wanted, UNIX_MODE)
        for listener in listeners:
            number = names.index(listener.name) if listener.name in names else 0
            accepted = partial(self._hand_out, listener=number)
            self._acceptors.append(Acceptor(self._loop, listener, accepted, lambda sock: refuse(sock, self._refusal)))
        self._ping()
        self._send_state()
        self._rotate()
        log.info("%d front processes: pid %s", len(self.fronts), ", ".join(str(front.pid) for front in self.fronts))

    async def _open_state(self) -> None:
        def options() -> Options:
            return self.reloader.snapshot.options

        self.store = self.supervisor.store = await open_store(self.paths.state, self._loop, options)
        self._at_end.push_async_callback(self.store.close)
        saved = self.supervisor.saved = Saved(self.paths.state, self._loop, options, self.supervisor)
        saved.open()
        self._at_end.push_async_callback(saved.close)

    async def _supervise(self, front: FrontProcess, first: asyncio.Future[None]) -> None:
        """Runs a front, and after its end another one, until the daemon stops. `first`: the first one serves."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            session = FrontSession(self.supervisor, front)
            problem = ""
            try:
                await self._run_once(front, session, first)
            except (ConfigError, OSError) as error:
                problem = error.log_detail if isinstance(error, ConfigError) else str(error)
            except Exception:
                # A defect of ours; the next front may do better, and a daemon that has lost one should not go on so.
                problem = "could not be looked after"
                log.exception("front %d", front.number)
            self._take_back(front, is_gone=True)
            how = await front.reap(END_PATIENCE_S)
            session.close()
            self._left += self._counters.get(front.number, Count.ACTIVE)
            self._counters.clear(front.number, len(self._clients))
            self.supervisor.send_leases(self.leases.leave(front.number))
            if not first.done():
                first.set_exception(ConfigError(problem or f"front {front.number} ended {how}"))
                return
            if self._is_ending():
                return
            self._left = 0
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S) if time.monotonic() - began < SOON_S else FIRST_PAUSE_S
            log.error("front %d %s; another one starts in %.1f s", front.number, problem or f"ended {how}", pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
                return
            # The next one reads from the disk what the last one left.
            with contextlib.suppress(StateError):
                await self.store.flush()
            if self._is_ending():
                return

    def _is_ending(self) -> bool:
        return self.phase in (EnginePhase.DRAINING, EnginePhase.STOPPED)

    async def _run_once(self, front: FrontProcess, session: FrontSession, first: asyncio.Future[None]) -> None:
        link = await front.start(session.handlers)
        link.tell("listeners", names=self._listener_names)
        link.tell("clients", numbers=self._clients)
        link.tell("state", **self._sent_state)
        session.greet(link)
        await front.ready()
        front.move(FrontState.SERVING)
        self.supervisor.send_leases(self.leases.join(front.number))
        if self.phase is EnginePhase.SERVING:
            link.tell("go")
        if not first.done():
            first.set_result(None)
        elif self.phase is EnginePhase.SERVING:
            log.info("front %d serves again: pid %d", front.number, front.pid)
        self._hand_waiting()
        await front.lost.wait()

    # ---- while it serves ---------------------------------------------------------------------------------------------

    def _on_swap(self, _old: Snapshot, new: Snapshot) -> None:
        self._number_clients(new)
        self.supervisor.send_leases(self.leases.set_total(slot_count(new.options)))

    def _number_clients(self, snapshot: Snapshot) -> None:
        """A client keeps its number as long as the daemon runs."""
        fresh = [name for name in snapshot.clients if name not in self._clients]
        room = MAX_CLIENTS - len(self._clients)
        numbers = {name: len(self._clients) + index for index, name in enumerate(fresh[:room])}
        if numbers:
            self._clients.update(numbers)
            for link in self.supervisor.links():
                link.tell("clients", numbers=numbers)

    async def reload(self) -> None:
        """Done once every front has read all again."""
        await self.reloader.reload(force=True)
        # One that starts reads them anyway.
        links = self.supervisor.serving_links()
        await asyncio.gather(*(link.fetch("reload") for link in links), return_exceptions=True)

    def _hand_out(self, sock: socket.socket, listener: int) -> None:
        """To the front that has the fewest; past max_connections to be refused there, with care, or here."""
        count = sum(front.connections for front in self.fronts) + len(self._unhanded)
        limit = self.reloader.snapshot.options.max_connections
        if count >= limit + REFUSED_AT_ONCE:
            refuse(sock, self._refusal)
        elif not self._hand(sock, listener, is_refused=count >= limit):
            if len(self._unhanded) >= MAX_UNHANDED:
                refuse(sock, self._refusal)
                return
            self._unhanded.append((sock, listener))
            self._later("hand", OFFER_AGAIN_S, self._hand_waiting)

    def _hand(self, sock: socket.socket, listener: int, *, is_refused: bool = False) -> bool:
        serving = [front for front in self.fronts if front.state is FrontState.SERVING]
        serving.sort(key=lambda front: (not front.answers, front.connections))
        return any(front.hand(sock, listener, is_refused=is_refused) for front in serving)

    def _hand_waiting(self) -> None:
        while self._unhanded and self._hand(*self._unhanded[0]):
            self._unhanded.popleft()
        if self._unhanded:
            self._later("hand", OFFER_AGAIN_S, self._hand_waiting)

    def _take_back(self, front: FrontProcess, *, is_gone: bool = False) -> None:
        """What a front that is stuck or gone has not taken goes to the others."""
        untaken = list(front.take_back())
        if is_gone:
            front.end_connections()
        for sock, listener in untaken:
            self._hand_out(sock, listener)

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        timer = self._timers.get(name)
        if timer is not None:
            timer.cancel()
        self._timers[name] = self._loop.call_later(delay_s, call)

    def _ping(self) -> None:
        """Ends a front whose loop does not turn any more, as the service manager's watchdog ends a daemon."""
        for front in self.fronts:
            link = front.link
            if link is None or front.state is not FrontState.SERVING:
                continue
            if front.missed >= MAX_MISSED:
                log.error("front %d does not answer any more; it is ended", front.number)
                front.kill()
            elif not front.answers:
                # Its answers are not waited for, but a cancel is: nobody else can end what it runs.
                link.give_up(but=("ping", "cancel"))
                self._take_back(front)
            front.missed += 1

            def answered(head: dict[str, Any] | None, _value: bytes | None, front: FrontProcess = front) -> None:
                if head is not None:
                    front.missed = 0

            link.ask(answered, "ping")
        self._later("ping", PING_S, self._ping)

    def _send_state(self) -> None:
        """Tells the fronts how the two stores are, if that has changed."""
        store, saved = self.store, self.supervisor.saved
        state: dict[str, Any] = {
            "fault": store.fault,
            "is_detached": store.is_detached,
            "is_full": store.is_full,
            "is_behind": store.is_behind,
            "saved_fault": saved.fault,
            "is_saved_detached": saved.is_detached,
        }
        if state != self._sent_state:
            self._sent_state = state
            for link in self.supervisor.links():
                link.tell("state", **state)
        self._later("state", SEND_STATE_S, self._send_state)

    def _rotate(self) -> None:
        self.supervisor.send_leases(self.leases.rotate())
        self._later("rotate", ROTATE_S, self._rotate)

    # ---- the end -----------------------------------------------------------------------------------------------------

    async def drain(self, stop_now: asyncio.Event) -> None:
        """Every front drains, and ends."""
        self.move(EnginePhase.DRAINING)
        self._stopping.set()
        self._left = 0
        self._hand_waiting()
        for acceptor in self._acceptors:
            acceptor.close()
        for front in self.fronts:
            if front.state is FrontState.SERVING and front.link is not None:
                front.move(FrontState.DRAINING)
                front.link.tell("drain")
            else:
                front.kill()
        patience_s = self.reloader.snapshot.options.drain_s + LAST_ANSWERS_S + END_PATIENCE_S
        everything = self._loop.create_task(_all(self._supervisors))
        urgent = self._loop.create_task(stop_now.wait())
        await asyncio.wait({everything, urgent}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        urgent.cancel()
        if not everything.done():
            for link in self.supervisor.links():
                link.tell("drain now")
            await asyncio.wait([everything], timeout=LAST_ANSWERS_S + END_PATIENCE_S)
        for front in self.fronts:
            front.kill()
        await everything

    async def _close(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        for timer in self._timers.values():
            timer.cancel()
        for sock, _listener in self._unhanded:
            sock.close()
        for task in self._supervisors:
            task.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        for front in self.fronts:
            await front.reap()
        self.reloader.close()
        await self._at_end.aclose()
        self._counters.close()
        self.move(EnginePhase.STOPPED)


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
