"""A worker process: binds itself, then runs flows, compiles or parses, as its frames say (whd/wire/frames.py).

It starts as a fork of the zygote, has one socket and no authority of its own. Whatever goes wrong in here beyond a
flow's own errors ends the process; the daemon replaces it.
"""

from __future__ import annotations

import base64
import os
import socket
import sys
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote
from time import monotonic_ns
from typing import Any, NoReturn

from ..wire.frames import LENGTH, MAX_CONTEXTS, RunHead, frame
from . import isolation, memory, parsing
from .channel import EXIT_DAEMON_GONE, EXIT_PROTOCOL, Channel, leave
from .compiler import Refused, compile_flow
from .program import Program, dump_code, load_program
from .run import Run, RunContext

SOCKET_FD = 3
# What a process for large inputs adds to its nice value (nice(2)).
LARGE_NICE = 10


def main(socket_fd: int, config: dict[str, Any]) -> NoReturn:
    """The whole life of a fork of the zygote. Never returns."""
    try:
        sys.unraisablehook = _ignore  # no standard error is open
        reports = isolation.wall_worker_start({**config, "socket_fd": socket_fd})
        Worker(Channel(socket.socket(fileno=SOCKET_FD)), config, reports).serve()
    except BaseException:  # a defect: a flow's own errors end in Program.run
        leave(EXIT_PROTOCOL)


def _ignore(_unraisable: object) -> None:
    pass


class Worker:
    """Frames in, frames out."""

    def __init__(self, channel: Channel, config: dict[str, Any], reports: list[isolation.LayerReport]) -> None:
        self._channel = channel
        self._config = config
        self._reports = reports
        self._programs: dict[tuple[str, str], Program] = {}
        self._contexts: dict[int, tuple[Program, RunContext]] = {}
        # The value of the present frame, until it is taken out of here. With no other reference to it, a large input is
        # freed when its flow ends, and does not look like something that the flow left behind (memory.py).
        self._value: bytes | bytearray | None = None
        self._ops: dict[str, Callable[[dict[str, Any]], None]] = {
            "code": self._code,
            "context": self._context,
            "compile": self._compile,
            "parse": self._parse,
            "check": self._check,
        }

    def serve(self) -> NoReturn:
        """Binds, then serves until the daemon is gone."""
        self._bind()
        while True:
            self.serve_one()

    def serve_one(self) -> None:
        """Does what the next frame says."""
        head, self._value = self._channel.next()
        if isinstance(head, RunHead):
            self._run(head)
            return
        op = self._ops.get(head["op"])
        if op is None:
            leave(EXIT_PROTOCOL)
        op(head)

    def _take_value(self) -> bytes | bytearray | None:
        value, self._value = self._value, None
        return value

    def _bind(self) -> None:
        head, _value = self._channel.next()
        if isinstance(head, RunHead) or head["op"] != "bind":
            leave(EXIT_PROTOCOL)
        if head.get("large"):
            os.nice(LARGE_NICE)
        memory.keep_freed(memory.KEPT_LARGE_BYTES if head.get("large") else memory.KEPT_BYTES)
        reports = isolation.wall_worker_bind(head["memory_bytes"], head["cpu_s"], self._config)
        required = self._config.get("require", ())
        # The zygote's canary vouches for the host; each worker still looks at its own wall.
        if any(not report.engaged and report.name in required for report in (*self._reports, *reports)):
            leave(EXIT_PROTOCOL)

    def _code(self, head: dict[str, Any]) -> None:
        # By hash and name: the path of a flow stands in its tracebacks.
        key = (head["hash"], head["flow"])
        self._programs[key] = load_program(head["path"], head["source"], head["code"], head.get("modules", ()))

    def _context(self, head: dict[str, Any]) -> None:
        if len(self._contexts) == MAX_CONTEXTS:
            self._contexts.clear()
        program = self._programs[head["hash"], head["flow"]]
        self._contexts[head["number"]] = program, RunContext(head["about"], head["limits"])

    def _run(self, head: RunHead) -> None:
        started_ns = monotonic_ns()
        program, context = self._contexts[head.context]
        run = Run(head, context, self._take_value(), self._channel)
        output = program.run(run)
        self._channel.send_bytes(_end_frame(run, output, (monotonic_ns() - started_ns) // 1000))
        if run.wants_fresh:
            # The daemon gives what already waits here to a fresh process.
            leave(EXIT_DAEMON_GONE)

    def _compile(self, head: dict[str, Any]) -> None:
        try:
            compiled = compile_flow(head["source"], head["path"], is_module=head.get("is_module", False))
            code = dump_code(compiled.code)
        except Refused as refusal:
            self._channel.send({"op": "refused", "hash": head["hash"], "text": str(refusal)})
            return
        warnings = [{"line": line, "text": text} for line, text in compiled.warnings]
        self._channel.send(
            {
                "op": "compiled",
                "hash": head["hash"],
                "code": code,
                "warnings": warnings,
                "declared_uses": [use._asdict() for use in compiled.declared_uses],
                "imports": [one._asdict() for one in compiled.imports],
            }
        )

    def _parse(self, head: dict[str, Any]) -> None:
        self._channel.send(*parsing.parse(head, self._take_value() or b""))

    def _check(self, head: dict[str, Any]) -> None:
        self._channel.send(*parsing.check(head, self._take_value() or b""))


def _end_frame(run: Run, output: bytes, took_us: int) -> bytes:
    """The `end` frame, put together by hand: each call pays for it."""
    if run.limit or run.response or run.wants_fresh or run.new_name:
        return _full_end_frame(run, output, took_us)
    head = (
        f'{{"op":"end","job":{run.job},"status":"{run.status}","took_us":{took_us},"message":{quote(run.message)}}}\n'
    ).encode("ascii")
    return b"".join((LENGTH.pack(len(head) + len(output)), head, output))


def _full_end_frame(run: Run, output: bytes, took_us: int) -> bytes:
    head: dict[str, Any] = {"op": "end", "job": run.job, "status": run.status, "message": run.message}
    head["took_us"] = took_us
    if run.limit:
        head["limit"] = run.limit
    if run.response:
        body = run.response.pop("body", "").encode("utf-8") or base64.b64decode(run.response.pop("body_base64", ""))
        head["response"], head["output_bytes"] = run.response, len(output)
        output += body
    if run.wants_fresh:
        head["fresh"] = True
    if run.new_name:
        head["name"] = run.new_name
    return frame(head, output)
