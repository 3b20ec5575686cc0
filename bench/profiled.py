#!/usr/bin/env python3
"""The daemon, or a worker's loop, with a clock around each step of a call's path: what profile.py starts.

    profiled.py FILE serve …           whd with those arguments; its steps go to FILE as JSON when it ends
    profiled.py FILE --worker N        N executions of the job in a worker's own code, in this process and without wall

A step's time is CPU time, and its own: what it calls that is a step itself is taken off, and so is what the clocks
cost.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Step(NamedTuple):
    """A step of the path: what it does, and the function that does it, as module:name."""

    what: str
    where: str


# In the order of the path. A function that is renamed or gone is named by `install`, and by its test.
DAEMON = (
    Step("connection: phases, deadlines, the write to the client", "whd.http.protocol:ClientProtocol.data_received"),
    Step("connection: bytes kept", "whd.http.connection:Connection.receive_data"),
    Step("connection: the same head as before", "whd.http.connection:Connection.repeated_head"),
    Step("connection: any other head, and body", "whd.http.connection:Connection.next_event"),
    Step("app: route, webhook, key in headers", "whd.handlers.app:App.admit"),
    Step("app: the same head as before", "whd.handlers.app:App.readmit"),
    Step("handler: permission, input, record", "whd.handlers.guards:WebhookGuard.handle"),
    Step("payload: JSON read, key taken out", "whd.wire.payload:parse"),
    Step("runner: id and time", "whd.executions.runner:Runner.prepare"),
    Step("runner: room, waiter, job made", "whd.executions.runner:Runner.start"),
    Step("pool: queue", "whd.pool.pool:Pool.submit"),
    Step("pool: slots, processes, what waits in them", "whd.pool.pool:Pool.dispatch"),
    Step("pool: frames for the worker", "whd.pool.frames_out:hold_run"),
    Step("pool: write to the worker", "whd.pool.worker:Worker.send"),
    Step("pool: read from the worker, next job", "whd.pool.worker:Worker._on_readable"),
    Step("wire: head of its frame", "whd.wire.frames:split"),
    Step("frames: end and output checked", "whd.pool.frames_in:read_plain_end"),
    Step("runner: end of the execution", "whd.executions.runner:Runner.on_end"),
    Step("store: record handed over", "whd.store.sqlite_store:SqliteStore.save_nowait"),
    Step("record: the answer's JSON", "whd.handlers.webhook:end_response"),
    Step("connection: answer sent, next request", "whd.http.protocol:ClientProtocol._respond"),
    Step("connection: the answer's bytes", "whd.http.connection:Connection.send_response"),
)
WORKER = (
    Step("channel: frame read, its head", "whd.sandbox.channel:Channel.next"),
    Step("worker: the rest", "whd.sandbox.worker:Worker._run"),
    Step("run: state of one execution", "whd.sandbox.run:Run.__init__"),
    Step("program: fresh globals, end", "whd.sandbox.program:Program.run"),
    Step("program: the flow itself", "whd.sandbox.program:Program._call"),
    Step("run: input read", "whd.sandbox.run:Run.field"),
    Step("run: output as JSON", "whd.sandbox.run:Run.output_json"),
    Step("worker: end frame", "whd.sandbox.worker:_end_frame"),
    Step("channel: write", "whd.sandbox.channel:Channel.send_bytes"),
)

_CALIBRATIONS = 20_000


class Clock:
    """Own time of wrapped functions, on one thread."""

    def __init__(self) -> None:
        self._stack: list[list[int]] = []
        # Of each step: calls, own nanoseconds, wrapped calls that it made.
        self.cells: dict[str, list[int]] = {}
        self._inside_ns = self._around_ns = 0.0

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with a clock around it."""
        cell = self.cells.setdefault(name, [0, 0, 0])
        # CPU time of this thread: on a shared core, a write that wakes a worker would else be charged for its run.
        stack, now = self._stack, time.thread_time_ns

        def timed(*arguments: Any, **named: Any) -> Any:
            inner = [0, 0]
            stack.append(inner)
            begun = now()
            try:
                return function(*arguments, **named)
            finally:
                took = now() - begun
                stack.pop()
                cell[0] += 1
                cell[1] += took - inner[0]
                cell[2] += inner[1]
                if stack:
                    outer = stack[-1]
                    outer[0] += took
                    outer[1] += 1

        return timed

    def calibrate(self) -> None:
        """Learns what a clock costs, within the step's own time and around it."""
        nothing = self.wrap("nothing", lambda: None)

        def many() -> None:
            for _ in range(_CALIBRATIONS):
                nothing()

        self.wrap("many", many)()
        (calls, inside, _), (_, around, _) = self.cells.pop("nothing"), self.cells.pop("many")
        self._inside_ns, self._around_ns = inside / calls, around / calls

    def own(self) -> dict[str, dict[str, float]]:
        """Of each step: `calls`, and `own_us` in all, less the clocks."""
        return {
            name: {
                "calls": calls,
                "own_us": max(0.0, own_ns - calls * self._inside_ns - inner * self._around_ns) / 1e3,
            }
            for name, (calls, own_ns, inner) in self.cells.items()
        }


def install(steps: tuple[Step, ...], clock: Clock) -> None:
    """Puts the clock around each step, wherever it was imported to. Raises LookupError naming a step that is gone."""
    for step in steps:
        module_name, _, path = step.where.partition(":")
        holder: Any = importlib.import_module(module_name)
        *parents, name = path.split(".")
        try:
            for parent in parents:
                holder = getattr(holder, parent)
            function = getattr(holder, name)
        except AttributeError as error:
            raise LookupError(f"step {step.what!r}: there is no {step.where} any more") from error
        timed = clock.wrap(step.where, function)
        setattr(holder, name, timed)
        for module in [module for key, module in sys.modules.items() if key.startswith("whd.")]:
            if getattr(module, name, None) is function:
                setattr(module, name, timed)


def work(count: int, clock: Clock, steps: tuple[Step, ...] = WORKER) -> float:
    """`count` executions of the job in a worker's code, over a socket pair; microseconds per execution in all."""
    from bench import answers, targets
    from whd.sandbox.channel import Channel
    from whd.sandbox.compiler import compile_flow
    from whd.sandbox.program import dump_code
    from whd.sandbox.worker import Worker
    from whd.wire import frames as wire

    install(steps, clock)
    daemon, ours = socket.socketpair()
    with daemon, ours:
        channel = Channel(ours)
        worker: Any = Worker(channel, {}, [])
        source = targets.ORDER_FLOW
        about = {"hash": "h", "flow": "order", "path": "order.py", "source": source}
        worker._code({"op": "code", **about, "code": dump_code(compile_flow(source, "order.py").code)})
        exchange = answers.exchange("127.0.0.1", targets.PATH, 0, 0)
        given = {"method": "POST", "path": targets.PATH, "query": {}, "headers": {"content-type": "application/json"}}
        value = json.dumps({**given, "json": exchange.payload}, separators=(",", ":")).encode()
        names = {"type": "FLOW", "name": "order", "flow_name": "order", "webhook_name": "order"}
        limits = {"max_output_bytes": 8_388_608, "max_log_bytes": 1_048_576, "max_calls": 100_000}
        context = {
            "number": 1,
            "hash": "h",
            "flow": "order",
            "about": {**names, "client_name": "acme"},
            "limits": limits,
        }
        worker._context({"op": "context", **context})
        times = 1_795_418_280_123, 1_795_418_280_124
        run = wire.run_start(1, 1, False, *times, "0" * 36, "", len(value)) + value
        begun = time.perf_counter()
        for _ in range(count):
            daemon.sendall(run)
            worker.serve_one()
            head, output = wire.split(daemon.recv(65_536)[4:])
            if head["status"] != "ENDED_SUCCESS" or b'"total"' not in (output or b""):
                raise SystemExit(f"the job failed: {head}")
        return (time.perf_counter() - begun) / count * 1e6


def main() -> int:
    """The command."""
    out, *arguments = sys.argv[1:]
    clock = Clock()
    clock.calibrate()
    if arguments[0] == "--worker":
        work(int(arguments[1]), clock)
        status = 0
    else:
        import whd.daemon.daemon  # noqa: F401  # all that imports a step's function is there before it is wrapped
        from whd import cli

        install(DAEMON, clock)
        status = cli.main(arguments)
    Path(out).write_text(json.dumps(clock.own()))
    return status


if __name__ == "__main__":
    sys.exit(main())
