"""Worker processes: forked ahead, bound, kept warm, trimmed, killed. Knows nothing of jobs or slots.

A process is asked for with a Binding and given out bound; when its user is done it comes back and waits, warm, for
the next of the same binding, or goes. `max_workers` bounds them all; a quarter of it is kept for child executions.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..model.budget import BufferBudget
from ..model.options import Options
from ..wire.frames import frame
from .worker import Binding, Worker, WorkerState
from .zygote import Zygote, ZygoteListener

log = logging.getLogger("whd.pool")

IDLE_LIMIT_S = 300.0
# Of one for large inputs, which may hold tens of megabytes.
LARGE_IDLE_LIMIT_S = 30.0
TRIM_INTERVAL_S = 1.0
ZYGOTE_RETRY_S = 0.5
SOCKET_BUFFER_BYTES = 1_048_576

# RLIMIT_CPU counts a process's whole life, in which it serves many executions; each one's own share is measured from
# outside. A process is replaced when it has used this much, long before the kernel's backstop would end it.
CPU_LIFE_S = 600.0
JOBS_PER_LIFE = 50_000

# A process that is idle for longer than this must not have used CPU meanwhile, but for falling asleep.
IDLE_PATIENCE_S = 0.02
IDLE_CPU_S = 0.02

Ready = Callable[[Worker | None, str], None]


@dataclass(slots=True)
class _Request:
    binding: Binding
    is_child: bool
    ready: Ready


def _nothing() -> None:
    return None


def nobody_else(_count: int) -> int:
    """How many workers other pools have, for one that has max_workers to itself: none."""
    return 0


class Processes(ZygoteListener):
    """All worker processes of one zygote.

    `on_frame` gets what they send, `on_gone` hears of each end, `on_room` of room for more.
    `share_count`: called with how many there are, it gives how many others have that count against max_workers too.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: Callable[[], Options],
        config: dict[str, Any],
        budget: BufferBudget,
        on_frame: Callable[[Worker, bytes | bytearray], None],
        on_gone: Callable[[Worker], None],
        on_room: Callable[[], None],
        share_count: Callable[[int], int] = nobody_else,
    ) -> None:
        self._loop = loop
        self._options = options
        self._config = config
        self._budget = budget
        self._on_frame = on_frame
        self._on_gone = on_gone
        self._on_room = on_room
        self._share_count = share_count
        self._zygote = Zygote(loop, config, self)
        self._workers: dict[int, Worker] = {}
        self._dying: dict[int, Worker] = {}
        self._spares: deque[Worker] = deque()
        self._idle: dict[Binding, list[Worker]] = {}
        # Called whenever there is an idle one more; of fronts/, which tell each other.
        self.on_idle: Callable[[], None] = _nothing
        self._requests: deque[_Request] = deque()
        self._child_requests = 0
        self._forking = 0
        # Whether there is a zygote to ask: what one was asked that does not stand is never answered.
        self._is_up = False
        self._numbers = 0
        self._closing = False
        self._trimmer: asyncio.TimerHandle | None = None
        self.forked_total = 0

    @property
    def layers(self) -> list[dict[str, Any]]:
        """What the wall's layers reported: name, engaged, reason."""
        return self._zygote.layers

    @property
    def total(self) -> int:
        """How many processes there are."""
        return len(self._workers)

    @property
    def has_idle(self) -> bool:
        """Whether one could be ended for others' sake."""
        return bool(self._idle)

    def counts(self) -> dict[str, int]:
        """How many processes there are, in all and by state."""
        counts = {state.name.lower(): 0 for state in WorkerState}
        for worker in self._workers.values():
            counts[worker.state.name.lower()] += 1
        return {"total": len(self._workers), **counts}

    async def start(self) -> None:
        """Starts the zygote and the first spares. Raises ConfigError."""
        await self._zygote.start()
        if self._zygote.failures:
            # A layer said that it engaged and did not hold: no option makes that acceptable.
            raise ConfigError(f"the sandbox does not hold on this host: {'; '.join(self._zygote.failures)}")
        self._is_up = True
        self._refill()
        self._trimmer = self._loop.call_later(TRIM_INTERVAL_S, self._trim)

    async def close(self) -> None:
        """Ends every process."""
        self._closing = True
        if self._trimmer is not None:
            self._trimmer.cancel()
        self._zygote.close()
        for worker in list(self._workers.values()):
            worker.kill()
            worker.release()
        self._workers.clear()
        await self._zygote.wait_closed()

    # ---- asking for a process ----------------------------------------------------------------------------------------

    def take_idle(self, binding: Binding) -> Worker | None:
        """A warm process of this binding, the one used last; it is BUSY from now on."""
        while idle := self._idle.get(binding):
            worker = idle.pop()
            if not idle:
                del self._idle[binding]
            if self._loop.time() - worker.idle_since > IDLE_PATIENCE_S and _is_busy_idle(worker):
                self._end_busy_idle(worker)
                continue
            worker.state = WorkerState.BUSY
            return worker
        return None

    def _end_busy_idle(self, worker: Worker) -> None:
        log.warning("a process of %s used CPU while it had nothing to do, and was ended", worker.binding)
        self.discard(worker)

    def request(self, binding: Binding, ready: Ready, *, is_child: bool = False) -> None:
        """Gives a fresh process, bound and BUSY, to `ready`, now or later; None with a reason if it cannot be had.

        Check `has_room` first: without room the request waits until a process ends.
        """
        self._requests.append(_Request(binding, is_child, ready))
        self._child_requests += is_child
        self._serve()

    def has_room(self, *, is_child: bool) -> bool:
        """Whether a fresh process could be had soon: a spare, room below max_workers, or an idle one to end for it."""
        if len(self._spares) > len(self._requests):
            return True
        limit = self._limit(is_child=is_child)
        wanted = len(self._workers) + max(0, len(self._requests) - self._forking)
        return wanted < limit or bool(self._idle)

    def _limit(self, *, is_child: bool) -> int:
        maximum = self._options().max_workers
        return (maximum if is_child else max(1, maximum - maximum // 4)) - self._share_count(len(self._workers))

    def _serve(self) -> None:
        while self._requests and self._spares:
            worker = self._spares.popleft()
            if worker.state is not WorkerState.SPARE:
                continue
            request = self._next_request()
            self._bind(worker, request.binding)
            request.ready(worker, "")
        self._refill()

    def _next_request(self) -> _Request:
        request = self._requests.popleft()
        self._child_requests -= request.is_child
        return request

    def _bind(self, worker: Worker, binding: Binding) -> None:
        worker.binding = binding
        worker.state = WorkerState.BUSY
        worker.send(
            frame(
                {
                    "op": "bind",
                    "client": binding.client_name,
                    "user": binding.user_name,
                    "memory_bytes": binding.memory_bytes,
                    "cpu_s": CPU_LIFE_S * 2 + self._options().cpu_s,
                    "large": binding.is_large,
                }
            )
        )

    def _refill(self) -> None:
        """Forks what waiting requests and the reserve of spares need, as far as max_workers allows."""
        if self._closing or not self._is_up:
            return
        wanted = len(self._requests) + self._options().spare_workers - len(self._spares) - self._forking
        while wanted > 0:
            is_for_request = len(self._requests) > self._forking + len(self._spares)
            is_child = is_for_request and self._child_requests > 0
            if len(self._workers) >= self._limit(is_child=is_child) and not (is_for_request and self.evict()):
                return
            self._fork()
            wanted -= 1

    def evict(self) -> bool:
        """Ends the process that has been idle longest, to make room. False when none is idle."""
        if not self._idle:
            return False
        binding = min(self._idle, key=lambda key: self._idle[key][0].idle_since)
        worker = self._idle[binding].pop(0)
        if not self._idle[binding]:
            del self._idle[binding]
        self.discard(worker)
        return True

    def _fork(self) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._fail_request(f"no socket for a worker: {error.strerror}")
            return
        ours.setblocking(False)
        for end in (ours, theirs):
            # A whole frame should pass in one write; the kernel caps this at net.core.wmem_max (socket(7)).
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        self._numbers += 1
        worker = Worker(self._loop, self._numbers, ours, self._budget, self._on_frame, self._on_fault)
        self._workers[worker.number] = worker
        self._forking += 1
        self.forked_total += 1
        self._zygote.fork(worker.number, theirs)
        self._share_count(len(self._workers))

    def _fail_request(self, reason: str) -> None:
        log.error("no worker: %s", reason)
        if self._requests:
            self._next_request().ready(None, reason)

    # ---- giving one back ---------------------------------------------------------------------------------------------

    def give_back(self, worker: Worker) -> None:
        """The user is done: the process waits for the next of its binding, or goes if it has lived long enough."""
        if worker.state is WorkerState.DEAD:
            return
        worker.jobs_done += 1
        # Long jobs are measured while they run; a look now and then is enough for the sum of many short ones.
        is_old = worker.jobs_done % 1_000 == 0 and worker.cpu_s() > CPU_LIFE_S
        is_speaking = worker.pending_bytes > 0
        if worker.is_retired or is_old or is_speaking or worker.jobs_done >= JOBS_PER_LIFE or worker.binding is None:
            self.discard(worker)
            return
        worker.state = WorkerState.IDLE
        worker.idle_since = self._loop.time()
        worker.idle_cpu_s = worker.cpu_s()
        worker.expect(0)
        self._idle.setdefault(worker.binding, []).append(worker)
        self.on_idle()

    def count_job(self, worker: Worker) -> None:
        """The user goes on at once with the next job, instead of giving the process back and taking it again."""
        worker.jobs_done += 1

    def discard(self, worker: Worker, *, reads_on: bool = False) -> None:
        """Kills a process; its end is reported to `on_gone` once it is there.

        `reads_on`: what it has sent by then still counts. Harmless for one that was killed before, or is gone already:
        nobody would ever take it out of `_dying`.
        """
        if worker.state is WorkerState.DEAD:
            return
        self._forget(worker)
        worker.state = WorkerState.DEAD
        worker.kill()
        if not reads_on:
            worker.close_socket()
        # The dead one counts no longer, so that its successor is forked now and not after its burial.
        self._workers.pop(worker.number, None)
        self._dying[worker.number] = worker
        self._serve()
        self._on_room()

    # ---- what the zygote and the sockets say -------------------------------------------------------------------------

    def on_forked(self, worker: int, pidfd: int) -> None:
        process = self._workers[worker]
        self._forking -= 1
        process.attach(pidfd)
        process.state = WorkerState.SPARE
        self._spares.append(process)
        self._serve()

    def on_fork_failed(self, worker: int, reason: str) -> None:
        self._forking -= 1
        self._workers.pop(worker).release()
        self._fail_request(reason)

    def on_exited(self, worker: int, status: int) -> None:
        process = self._workers.get(worker) or self._dying.get(worker)
        if process is None:
            return
        process.exit_status = status
        process.read_last()
        self._bury(process)

    def _on_fault(self, worker: Worker) -> None:
        # The socket broke or the frames did: whatever the process is now, it goes; its exit status is still to come.
        self._forget(worker)
        worker.kill()

    def _bury(self, worker: Worker) -> None:
        self._workers.pop(worker.number, None)
        self._dying.pop(worker.number, None)
        self._forget(worker)
        worker.state = WorkerState.DEAD
        worker.release()
        self._on_gone(worker)
        self._serve()
        self._on_room()

    def _forget(self, worker: Worker) -> None:
        if worker.state is WorkerState.SPARE and worker in self._spares:
            self._spares.remove(worker)
        idle = self._idle.get(worker.binding) if worker.binding is not None else None
        if idle and worker in idle and worker.binding is not None:
            idle.remove(worker)
            if not idle:
                del self._idle[worker.binding]

    def on_zygote_lost(self) -> None:
        # Every worker died with it.
        if self._closing:
            return
        log.error("the zygote ended; starting another")
        self._is_up = False
        self._forking = 0
        # Before all else: a job that gets the slot of one that ends now must not get a process that is dead as well.
        self._spares.clear()
        self._idle.clear()
        for worker in [*self._dying.values(), *self._workers.values()]:
            self._bury(worker)
        self._restart_zygote()

    def _restart_zygote(self) -> None:
        if self._closing:
            return
        self._zygote = Zygote(self._loop, self._config, self)
        task = self._loop.create_task(self._zygote.start())
        task.add_done_callback(self._on_zygote_started)

    def _on_zygote_started(self, task: asyncio.Task[None]) -> None:
        error = task.exception()
        if error is not None:
            log.error("%s", error)
            self._loop.call_later(ZYGOTE_RETRY_S, self._restart_zygote)
        else:
            self._is_up = True
            self._serve()

    # ---- trimming ----------------------------------------------------------------------------------------------------

    def _trim(self) -> None:
        self._trimmer = self._loop.call_later(TRIM_INTERVAL_S, self._trim)
        now = self._loop.time()
        idle = sorted(
            (worker for workers in self._idle.values() for worker in workers), key=lambda worker: worker.idle_since
        )
        excess = len(idle) - self._options().max_idle_workers
        for index, worker in enumerate(idle):
            if _is_busy_idle(worker):
                self._end_busy_idle(worker)
            elif index < excess or now - worker.idle_since > _idle_limit_s(worker) or worker.cpu_s() > CPU_LIFE_S:
                self.discard(worker)


def _idle_limit_s(worker: Worker) -> float:
    return LARGE_IDLE_LIMIT_S if worker.binding is not None and worker.binding.is_large else IDLE_LIMIT_S


def _is_busy_idle(worker: Worker) -> bool:
    """Whether a process that has no job works all the same: it does not listen, or goes on with what it was to end."""
    return worker.cpu_s() - worker.idle_cpu_s > IDLE_CPU_S
