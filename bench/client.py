"""The load generator's engine: connections, the schedule's due requests, latencies, errors.

Rules: nothing that a server does delays the schedule; a latency is stamped, and the next request sent, before anything
else is done with an answer; every answer is then checked. Runs on uvloop, on a thread of its own process.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import random
import re
import resource
import socket
from array import array
from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

from bench import answers, percentiles, schedule
from bench.timer import Timer

# Lost connections are replaced this many times in a run; each is an error if it had a request in flight.
MAX_RECONNECTS = 100

# A run is saturated if more than this share of its requests was overdue, waiting for a connection, when it ended.
SATURATED_SHARE = 0.02

# What is overdue when the schedule ends is still sent for this long: half the run, within these bounds.
MIN_DRAIN_S, MAX_DRAIN_S = 0.5, 5.0

# The delivery that all heads name if they are repeated.
REPEATED = answers.delivery_id(1)

_LEAD_S = 0.02
_CALIBRATION_S = 0.005
_CALIBRATIONS = 5
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. `rate` is in requests per second; None is the closed loop. `warm_s` comes before `seconds`.

    With `poll` the generator never sleeps: for a core that it has to itself, where waking up would cost more than
    many an answer takes. A `{connection}` in the path is each connection's own number, from 0. `size`, `kind`: of the
    bodies of the check "length". `heads`: answers.HEADS.
    """

    host: str
    port: int
    path: str
    connections: int
    seconds: float
    warm_s: float = 0.5
    rate: float | None = None
    arrivals: str = "poisson"
    seed: int = 1
    check: str = "job"
    script: str | None = None
    timeout_s: float = 10.0
    poll: bool = False
    size: int = 0
    kind: str = "json"
    heads: str = "plain"

    def exchanges(self, number: int) -> tuple[answers.Exchange, ...]:
        """What the connection of that number sends, in turn."""
        host, path = f"{self.host}:{self.port}", self.path.replace("{connection}", str(number))
        if self.check == "length":
            turns = answers.lengths(host, path, self.size, self.kind)
        else:
            turns = answers.exchanges(host, path, number)
        if self.heads == "repeated":
            return tuple(answers.with_delivery(turn, REPEATED) for turn in turns)
        return turns


class Connection(asyncio.Protocol):
    """One keep-alive connection: at most one request in flight, answers with Content-Length."""

    def __init__(self, run: Run, sock: socket.socket, number: int) -> None:
        self._run = run
        self._socket = sock
        self._turns = run.plan.exchanges(number)
        self._turn = -1
        # Cut once, so that a new head costs a request no more than its fields.
        self._halves = [answers.halves(turn) for turn in self._turns] if run.plan.heads == "new" else None
        self._parts: list[bytes] = []
        self._missing = 0
        self.number = number
        self.expected = self._turns[0]
        self.delivery = REPEATED if run.plan.heads == "repeated" else b""
        self.since = 0.0
        self.measured = False
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport: Any = transport

    def send(self, since: float, measured: bool) -> None:
        """Sends the next request; its latency counts from `since`."""
        turn = self._turn = (self._turn + 1) % len(self._turns)
        expected = self.expected = self._turns[turn]
        self.since, self.measured, self.busy = since, measured, True
        # The system call itself, and now: transport.write would send it at the end of the loop's turn, behind
        # whatever else was ready. One small request fits into an idle connection's buffer; if it ever does not:
        request = expected.request
        if self._halves is not None:
            before, after = self._halves[turn]
            delivery = self.delivery = answers.delivery_id(self._run.next_delivery())
            request = before + answers.delivery_fields(delivery) + after
        try:
            sent = self._socket.send(request)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._transport.abort()
            return
        if sent < len(request):
            self._transport.write(request[sent:])

    def data_received(self, data: bytes) -> None:
        """asyncio: an answer or part of one."""
        now = perf_counter()
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._parts)
            self._parts = []
        if not self.busy:
            self._run.broken(self, "answer without a request")
            return
        start = data.find(b"\r\n\r\n") + 4
        if start < 4:
            self._hold(data, 1)
            return
        length = _CONTENT_LENGTH.search(data, 0, start - 2)
        if length is None:
            self._run.broken(self, "answer without content-length")
            return
        missing = start + int(length[1]) - len(data)
        if missing > 0:
            self._hold(data, missing)
        elif missing < 0:
            self._run.broken(self, "bytes past the answer")
        else:
            self._run.answered(self, data, start, now)

    def _hold(self, data: bytes, missing: int) -> None:
        self._parts.append(data)
        self._missing = missing

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: closed, by whomever."""
        self._run.lost(self)

    def close(self) -> None:
        """Ends the connection."""
        self._transport.abort()


class Run:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._judge = answers.Judge(plan.check, plan.script)
        self._unchecked: list[tuple[bytes, int, answers.Exchange, bytes]] = []
        # From anywhere, so that a server which remembers deliveries takes none of this run for one of another's.
        self.next_delivery = itertools.count(random.getrandbits(64)).__next__
        self._errors: Counter[str] = Counter()
        self._latencies_s = array("d")
        self._lags_s = array("d")
        self._connections: set[Connection] = set()
        self._free: deque[Connection] = deque()
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._reconnects = 0
        self._sending = False
        self._window_over = False
        self._in_flight = 0
        self._answered_in_window = 0
        self._due = array("d")
        self._next = 0
        self._overdue_at_end = 0
        self._timer: Timer | None = None
        self._idle_turns = 0
        self._idle_turn_s = 0.0
        self._generator_cpu = 0.0

    async def go(self) -> dict[str, Any]:
        """Connects, runs, drains; gives the result as load.py prints it. Raises OSError if it cannot connect."""
        loop = self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        plan = self.plan
        if plan.rate is not None:
            relative = schedule.arrivals(plan.arrivals, plan.rate, plan.warm_s + plan.seconds, plan.seed)
        await self._connect_all()
        if plan.poll:
            await self._calibrate()
        gc.collect()
        gc.freeze()
        gc.disable()
        start = perf_counter() + _LEAD_S
        self._from = start + plan.warm_s
        self._until = self._from + plan.seconds
        loop.call_later(_LEAD_S + plan.warm_s, self._window_begins)
        loop.call_later(_LEAD_S + plan.warm_s + plan.seconds, self._window_ends)
        self._sending = True
        if plan.rate is None:
            connections, self._free = self._free, deque()
            for connection in connections:
                self._idle(connection)
        else:
            self._due = array("d", (start + at for at in relative))
            if not plan.poll:
                self._timer = Timer(loop, self._pump)
                self._timer.arm(self._due[0])
        try:
            await self._ended
        finally:
            self._sending = False
            gc.enable()
            if self._timer is not None:
                self._timer.close()
            for connection in tuple(self._connections):
                connection.close()
        self._check_all()
        return self._result()

    # Connections

    async def _connect_all(self) -> None:
        wanted = self.plan.connections + 64
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
        for number in range(self.plan.connections):
            self._free.append(await self._connect(number))

    async def _connect(self, number: int) -> Connection:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(sock, (self.plan.host, self.plan.port))
        except BaseException:
            sock.close()
            raise
        connection = Connection(self, sock, number)
        await self._loop.create_connection(lambda: connection, sock=sock)
        self._connections.add(connection)
        return connection

    async def _reconnect(self, number: int) -> None:
        try:
            connection = await self._connect(number)
        except OSError as error:
            self._errors[f"connect: {error.strerror or error}"] += 1
            self._end_if_done()
        else:
            self._idle(connection)

    def broken(self, connection: Connection, kind: str) -> None:
        """What came is no answer to a request; the connection is given up."""
        self._errors[kind] += 1
        if connection.busy:
            connection.busy = False
            self._in_flight -= 1
        connection.close()

    def lost(self, connection: Connection) -> None:
        """A connection is gone: an error if a request was in flight. It is replaced, a bounded number of times."""
        self._connections.discard(connection)
        if self._ended.done():
            return
        if connection.busy:
            self._errors["connection closed before the answer"] += 1
            self._in_flight -= 1
        elif connection in self._free:
            self._free.remove(connection)
        if self._sending and self._reconnects < MAX_RECONNECTS:
            self._reconnects += 1
            task = self._loop.create_task(self._reconnect(connection.number))
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)
        self._end_if_done()

    # Requests and answers

    def _dispatch(self, connection: Connection, since: float) -> None:
        self._in_flight += 1
        connection.send(since, since >= self._from)

    def answered(self, connection: Connection, answer: bytes, start: int, now: float) -> None:
        """A whole answer is there. The next request goes first; checks wait until the loop has read what else came."""
        self._in_flight -= 1
        connection.busy = False
        since, measured = connection.since, connection.measured
        expected, delivery = connection.expected, connection.delivery
        self._idle(connection)
        if measured:
            self._latencies_s.append(now - since)
        if self._from <= now < self._until:
            self._answered_in_window += 1
        unchecked = self._unchecked
        unchecked.append((answer, start, expected, delivery))
        if len(unchecked) == 1:
            self._loop.call_soon(self._check_all)

    def _idle(self, connection: Connection) -> None:
        """A connection is free: in the closed loop it sends; in the open loop it takes what is due longest, if any."""
        if not self._sending:
            self._end_if_done()
        elif self.plan.rate is None:
            self._dispatch(connection, perf_counter())
        elif self._next < len(self._due) and self._due[self._next] <= perf_counter():
            self._send_due(connection)
        else:
            self._free.append(connection)
            if len(self._free) == 1 and self._timer is not None and self._next < len(self._due):
                self._timer.arm(self._due[self._next])
            self._end_if_done()

    def _send_due(self, connection: Connection) -> None:
        due = self._due[self._next]
        self._next += 1
        self._dispatch(connection, due)

    def _pump(self) -> None:
        """Sends what is due as far as connections are free. With none free, the next answer's connection goes on."""
        schedule_, free = self._due, self._free
        while free and self._next < len(schedule_):
            due = schedule_[self._next]
            lag = perf_counter() - due
            if lag < 0:
                break
            if due >= self._from:
                self._lags_s.append(lag)
            self._send_due(free.popleft())
        if self._timer is None:
            return
        if free and self._next < len(schedule_) and self._sending:
            self._timer.arm(schedule_[self._next])
        else:
            self._timer.disarm()

    def _check_all(self) -> None:
        unchecked, self._unchecked = self._unchecked, []
        for answer, start, expected, delivery in unchecked:
            fault = self._judge.fault(answer, start, expected, delivery)
            if fault is not None:
                self._errors[fault] += 1

    # Polling

    async def _calibrate(self) -> None:
        """Starts the turns that keep the loop awake, and learns how long an idle one takes: the best of a few tries."""
        self._loop.call_soon(self._turn)
        if self.plan.rate is not None:
            # As in the run: a turn looks whether the next request is due; this one never is.
            self._sending, self._due = True, array("d", (math.inf,))
        tries = []
        for _ in range(_CALIBRATIONS):
            begun, turns = perf_counter(), self._idle_turns
            await asyncio.sleep(_CALIBRATION_S)
            tries.append((perf_counter() - begun) / max(1, self._idle_turns - turns))
        self._idle_turn_s = min(tries)
        self._sending, self._due = False, array("d")

    def _turn(self) -> None:
        if self._ended.done():
            return
        self._idle_turns += 1
        self._loop.call_soon(self._turn)
        if self._sending and self._free and self._next < len(self._due):
            self._pump()

    # The window and the end

    def _window_begins(self) -> None:
        self._cpu_at_start, self._wall_at_start = process_time(), perf_counter()
        self._turns_at_start = self._idle_turns

    def _window_ends(self) -> None:
        plan = self.plan
        wall_s = perf_counter() - self._wall_at_start
        idle_s = (self._idle_turns - self._turns_at_start) * self._idle_turn_s
        cpu_s = wall_s - idle_s if plan.poll else process_time() - self._cpu_at_start
        self._generator_cpu = min(1.0, max(0.0, cpu_s / wall_s))
        self._window_over = True
        if plan.rate is None:
            self._stop_sending()
            return
        self._overdue_at_end = max(0, bisect_right(self._due, min(self._until, perf_counter())) - self._next)
        self._loop.call_later(min(MAX_DRAIN_S, max(MIN_DRAIN_S, plan.seconds / 2)), self._stop_sending)
        self._end_if_done()

    def _stop_sending(self) -> None:
        self._sending = False
        self._loop.call_later(self.plan.timeout_s, self._give_up)
        self._end_if_done()

    def _give_up(self) -> None:
        if not self._ended.done():
            self._errors["no answer"] += self._in_flight
            self._ended.set_result(None)

    def _end_if_done(self) -> None:
        if self._ended.done():
            return
        nothing_left = not self._sending or (self.plan.rate is not None and self._next >= len(self._due))
        deserted = self._sending and not self._connections and not self._reconnecting_others()
        if (self._window_over and nothing_left and self._in_flight == 0) or deserted:
            self._ended.set_result(None)

    def _reconnecting_others(self) -> bool:
        # The task that asks is itself still in the set.
        return bool(self._reconnecting - {asyncio.current_task(self._loop)})

    def _result(self) -> dict[str, Any]:
        plan = self.plan
        now = perf_counter()
        unsent = self._due[self._next :]
        # They waited at least until now: left out, they would be missing from the percentiles of a saturated run.
        self._latencies_s.extend(now - due for due in unsent if due >= self._from)
        overdue_share = self._overdue_at_end / max(1, len(self._due))
        return {
            "loop": "closed" if plan.rate is None else "open",
            "connections": plan.connections,
            "seconds": plan.seconds,
            "heads": plan.heads,
            "offered_per_s": plan.rate,
            "answered_per_s": self._answered_in_window / plan.seconds,
            "measured": len(self._latencies_s),
            "latency_ms": percentiles.summary_ms(self._latencies_s),
            "saturated": len(unsent) > 0 or overdue_share > SATURATED_SHARE,
            "overdue_at_end": self._overdue_at_end,
            "unsent": len(unsent),
            "errors": dict(self._errors),
            "error_example": self._judge.example,
            "reconnects": self._reconnects,
            "checked": self._judge.checked,
            "checked_in_full": self._judge.checked_in_full,
            "send_lag_ms": percentiles.summary_ms(self._lags_s),
            "generator_cpu": self._generator_cpu,
        }
