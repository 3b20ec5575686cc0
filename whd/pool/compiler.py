"""Compiled flows: each source once, in a fresh walled process that does nothing else, cached per client.

The daemon never compiles, unmarshals or runs what a flow's author wrote: what comes back is a text that only workers of
the same client are given. A process compiles one source and goes, so that no source can forge another's code.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..model.options import Limits
from ..model.snapshot import Fault, Flow
from ..wire.frames import MAX_DECLARED_CHARS, MAX_DECLARED_USES, DeclaredUse, FrameError, frame, split
from .frames_in import int_member, text_member
from .processes import Processes
from .worker import Binding, Worker

COMPILE_TIMEOUT_S = 30.0
COMPILE_MEMORY_BYTES = 536_870_912
MAX_CODE_BYTES = 67_108_864
MAX_REFUSAL_CHARS = 8_192
# A source whose process is killed may be compiled once more, but perhaps it is what makes memory run out.
MAX_ATTEMPTS = 3

_LINE = re.compile(r"[^\n:]*:(\d+): (.*)")

Key = tuple[str, str, str]


class RunContext(NamedTuple):
    """What the runs of one webhook and flow have in common (wire op `context`): sent once to each process."""

    number: int
    frame: bytes
    limits: Limits


@dataclass(slots=True)
class Code:
    """What became of a source: `frame` for workers once it is compiled, or `refusal`, or neither yet.

    `short_runs`: how many of its latest executions in a row were short and asked for nothing. `took_us`: how long
    those took of late. `contexts`: by what a job says of itself and by its limits' identity.
    """

    key: Key
    frame: bytes = b""
    refusal: str = ""
    warnings: tuple[tuple[int, str], ...] = ()
    declared_uses: tuple[DeclaredUse, ...] = ()
    attempts: int = 0
    short_runs: int = 0
    took_us: int = 0
    waiting: list[Callable[[Code], None]] = field(default_factory=list)
    contexts: dict[tuple[str, int], RunContext] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Whether it is decided."""
        return bool(self.frame or self.refusal)


class Compiler:
    """The cache and the processes under way. `on_frame` and `on_gone` are fed by the pool."""

    def __init__(self, loop: asyncio.AbstractEventLoop, processes: Processes) -> None:
        self._loop = loop
        self._processes = processes
        self._codes: dict[Key, Code] = {}
        self._running: dict[Worker, tuple[Flow, Code, asyncio.TimerHandle]] = {}

    def known(self, flow: Flow) -> Code | None:
        """The decided code of a flow, None while there is none."""
        code = self._codes.get((flow.client_name, flow.script_hash, flow.name))
        # is_known, written out: each call asks.
        return code if code is not None and (code.frame or code.refusal) else None

    def compile(self, flow: Flow, done: Callable[[Code], None]) -> None:
        """Calls `done` with the decided code, at once when it is known."""
        key = (flow.client_name, flow.script_hash, flow.name)
        code = self._codes.get(key)
        if code is not None and code.is_known:
            done(code)
            return
        if code is not None:
            code.waiting.append(done)
            return
        code = self._codes[key] = Code(key, waiting=[done])
        self._request(flow, code)

    def _request(self, flow: Flow, code: Code) -> None:
        code.attempts += 1
        binding = Binding("compile", flow.client_name, "", COMPILE_MEMORY_BYTES)
        self._processes.request(binding, lambda worker, reason: self._send(flow, code, worker, reason), is_child=True)

    def keep(self, flows: Iterable[Flow]) -> None:
        """Drops what no flow of the present snapshot needs."""
        wanted = {(flow.client_name, flow.script_hash, flow.name) for flow in flows}
        self._codes = {key: code for key, code in self._codes.items() if key in wanted or not code.is_known}

    def _send(self, flow: Flow, code: Code, worker: Worker | None, reason: str) -> None:
        if worker is None:
            self._failed(code, f"cannot be compiled now: {reason}")
            return
        worker.expect(MAX_CODE_BYTES)
        head = {"op": "compile", "hash": flow.script_hash, "flow": flow.name, "path": flow_path(flow)}
        worker.send(frame({**head, "source": flow.source}))
        timer = self._loop.call_later(COMPILE_TIMEOUT_S, self._timed_out, worker)
        self._running[worker] = (flow, code, timer)

    def _timed_out(self, worker: Worker) -> None:
        _flow, code, _timer = self._running.pop(worker)
        self._processes.discard(worker)
        self._refused(code, f"compiling it took more than {COMPILE_TIMEOUT_S:g} s")

    def on_frame(self, worker: Worker, payload: bytes | bytearray) -> bool:
        """A frame of a compiling process; False if it is not one."""
        entry = self._running.pop(worker, None)
        if entry is None:
            return False
        flow, code, timer = entry
        timer.cancel()
        self._processes.discard(worker)
        try:
            head, _value = split(payload, MAX_CODE_BYTES)
            compiled, refused = _read(head)
            code.warnings, code.declared_uses = _read_warnings(head), _read_declared_uses(head)
        except FrameError as error:
            self._refused(code, f"the compiler answered nonsense: {error}")
            return True
        if refused:
            self._refused(code, refused)
        else:
            head = {"op": "code", "hash": flow.script_hash, "flow": flow.name, "path": flow_path(flow)}
            self._decide(code, frame({**head, "source": flow.source, "code": compiled}), "")
        return True

    def on_gone(self, worker: Worker) -> bool:
        """A compiling process died; False if it was not one."""
        entry = self._running.pop(worker, None)
        if entry is None:
            return False
        flow, code, timer = entry
        timer.cancel()
        if _was_killed(worker.exit_status) and code.attempts < MAX_ATTEMPTS:
            self._request(flow, code)
            return True
        self._refused(code, "the compiler's process ended: the source is too deep or too large to be compiled")
        return True

    def _refused(self, code: Code, text: str) -> None:
        self._decide(code, b"", text)

    def _failed(self, code: Code, text: str) -> None:
        """Not the source's fault: those who wait hear of it, the next one tries again."""
        self._codes.pop(code.key, None)
        self._decide(code, b"", text)

    def _decide(self, code: Code, code_frame: bytes, refusal: str) -> None:
        code.frame, code.refusal = code_frame, refusal
        waiting, code.waiting = code.waiting, []
        for done in waiting:
            done(code)


def _was_killed(exit_status: int | None) -> bool:
    """Whether a process was ended by somebody else (or by want of memory), or went with its zygote: no source does so.

    `exit_status` as waitpid(2) has it.
    """
    return exit_status is None or (os.WIFSIGNALED(exit_status) and os.WTERMSIG(exit_status) == signal.SIGKILL)


def flow_path(flow: Flow) -> str:
    """The file name that a flow's tracebacks show: as it stands below the project, never the machine's own path."""
    return f"flows/{flow.client_name}/{flow.name}.py"


def _read(head: dict[str, Any]) -> tuple[str, str]:
    if head.get("op") == "refused":
        return "", text_member(head, "text", MAX_REFUSAL_CHARS) or "refused"
    if head.get("op") != "compiled":
        raise FrameError(f"op {json.dumps(head.get('op'))[:40]}")
    compiled = text_member(head, "code", MAX_CODE_BYTES)
    if not compiled:
        raise FrameError("no code")
    return compiled, ""


def _read_warnings(head: dict[str, Any]) -> tuple[tuple[int, str], ...]:
    """What the compiler found odd: [{line, text}, ...]."""
    warnings = head.get("warnings", [])
    if type(warnings) is not list or not all(type(warning) is dict for warning in warnings):
        raise FrameError("warnings is not a list of objects")
    return tuple((int_member(warning, "line"), text_member(warning, "text", MAX_REFUSAL_CHARS)) for warning in warnings)


def _read_declared_uses(head: dict[str, Any]) -> tuple[DeclaredUse, ...]:
    """What the flow plainly asks for: [{line, action, name}, ...]."""
    declared_uses = head.get("declared_uses", [])
    if (
        type(declared_uses) is not list
        or len(declared_uses) > MAX_DECLARED_USES
        or not all(type(use) is dict for use in declared_uses)
    ):
        raise FrameError("declared_uses is not a list of objects")
    return tuple(
        DeclaredUse(
            int_member(use, "line"), text_member(use, "action", 32), text_member(use, "name", MAX_DECLARED_CHARS)
        )
        for use in declared_uses
    )


def refusal_faults(flow: Flow, refusal: str) -> list[Fault]:
    """A refusal's lines, `flows/client/name.py:12: what`, each as a fault of the file as it lies on disk."""
    faults = []
    for text in refusal.splitlines():
        match = _LINE.fullmatch(text)
        if match is None:
            faults.append(Fault(flow.path, 0, "", text))
        else:
            faults.append(Fault(flow.path, int(match[1]), "", match[2]))
    return faults
