"""Compiled flows and helper modules: each source once, in a fresh walled process that does nothing else, cached per
client.

The daemon never compiles, unmarshals or runs what a flow's author wrote: what comes back is a text that only workers of
the same client are given. A process compiles one source and goes, so that no source can forge another's code. A flow's
code is put together with that of the modules that it imports (linking.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from ..model.library import NO_LIBRARY, Library, Module
from ..model.options import Limits
from ..model.snapshot import Client, Fault, Flow, Source
from ..wire.frames import (
    MAX_DECLARED_CHARS,
    MAX_DECLARED_USES,
    MAX_LIB_IMPORTS,
    DeclaredUse,
    FrameError,
    LibImport,
    frame,
    split,
)
from .frames_in import int_member, text_member
from .linking import Gathering, Unit, Units, import_faults, source_path
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
    """What became of a flow: `frame` for workers once it is compiled, or `refusal`, or neither yet.

    `flow`: with the modules that it imports. `is_import_refused`: it compiles, but not all of them can be used.
    `short_runs`: how many of its latest executions in a row were short and asked for nothing. `took_us`: how long
    those took of late. `contexts`: by what a job says of itself and by its limits' identity.
    """

    key: Key
    flow: Flow
    frame: bytes = b""
    refusal: str = ""
    is_import_refused: bool = False
    warnings: tuple[tuple[int, str], ...] = ()
    declared_uses: tuple[DeclaredUse, ...] = ()
    modules: tuple[Module, ...] = ()
    short_runs: int = 0
    took_us: int = 0
    waiting: list[Callable[[Code], None]] = field(default_factory=list)
    contexts: dict[tuple[str, int], RunContext] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Whether it is decided."""
        return bool(self.frame or self.refusal)


@dataclass(slots=True, eq=False)
class _Compiling:
    """A source on its way, and who waits for it."""

    source: Source
    attempts: int = 0
    waiting: list[Callable[[Unit], None]] = field(default_factory=list)


# A client's source by what it is, its name and its text.
_UnitKey = tuple[str, bool, str, str]


class CheckedModule(NamedTuple):
    """A module, and why it cannot have what it imports: a line, as of a refusal, for each such import."""

    unit: Unit
    import_faults: list[str]


class Compiler:
    """The cache and the processes under way. `on_frame` and `on_gone` are fed by the pool.

    Units are compiled sources, codes are flows with all that they import. A flow's code is found by its version, and by
    its hash with its modules, which is the same while others change.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, processes: Processes) -> None:
        self._loop = loop
        self._processes = processes
        self._codes: dict[Key, Code] = {}
        self._units: dict[_UnitKey, Unit] = {}
        self._compiling: dict[_UnitKey, _Compiling] = {}
        self._running: dict[Worker, tuple[_Compiling, asyncio.TimerHandle]] = {}

    def known(self, flow: Flow) -> Code | None:
        """The decided code of a flow, None while there is none."""
        code = self._codes.get((flow.client_name, flow.version, flow.name))
        # is_known, written out: each call asks.
        return code if code is not None and (code.frame or code.refusal) else None

    def compile(self, flow: Flow, done: Callable[[Code], None]) -> None:
        """Calls `done` with the decided code, at once when it is known."""
        key = (flow.client_name, flow.version, flow.name)
        code = self._codes.get(key)
        if code is not None and code.is_known:
            done(code)
            return
        if code is not None:
            code.waiting.append(done)
            return
        code = self._codes[key] = Code(key, flow, waiting=[done])
        library = flow.library or NO_LIBRARY
        Gathering(library, self.compile_source, partial(self._link, code, library)).begin(flow)

    def compile_source(self, source: Source, done: Callable[[Unit], None]) -> None:
        """Calls `done` with what became of a flow or module by itself, at once when it is known."""
        key = _unit_key(source)
        unit = self._units.get(key)
        if unit is not None:
            done(unit)
            return
        compiling = self._compiling.get(key)
        if compiling is not None:
            compiling.waiting.append(done)
            return
        compiling = self._compiling[key] = _Compiling(source, waiting=[done])
        self._request(compiling)

    def check_module(self, module: Module, library: Library, done: Callable[[CheckedModule], None]) -> None:
        """Calls `done` with what became of a module, by itself and with what it imports."""

        def gathered(unit: Unit, units: Units) -> None:
            done(CheckedModule(unit, import_faults(module, unit, library, units)))

        Gathering(library, self.compile_source, gathered).begin(module)

    def keep(self, clients: Iterable[Client]) -> None:
        """Drops what no flow of the present snapshot needs."""
        codes: set[Key] = set()
        units: set[_UnitKey] = set()
        for client in clients:
            for flow in client.flows.values():
                key = (client.name, flow.version, flow.name)
                codes.add(key)
                if flow.library is not None:
                    code = self._codes.get(key)
                    codes.update([code.key] if code is not None else [])
                    units.add(_unit_key(flow))
            units.update(map(_unit_key, client.library.modules.values()))
        self._codes = {key: code for key, code in self._codes.items() if key in codes or not code.is_known}
        self._units = {key: unit for key, unit in self._units.items() if key in units}

    # ---- one source --------------------------------------------------------------------------------------------------

    def _request(self, compiling: _Compiling) -> None:
        compiling.attempts += 1
        binding = Binding("compile", compiling.source.client_name, "", COMPILE_MEMORY_BYTES)
        self._processes.request(binding, partial(self._send, compiling), is_child=True)

    def _send(self, compiling: _Compiling, worker: Worker | None, reason: str) -> None:
        if worker is None:
            self._decide(compiling, Unit(refusal=f"cannot be compiled now: {reason}", is_passing=True))
            return
        source = compiling.source
        worker.expect(MAX_CODE_BYTES)
        head = {"op": "compile", "hash": source.script_hash, "flow": source.name, "path": source_path(source)}
        worker.send(frame({**head, "source": source.source, "is_module": isinstance(source, Module)}))
        timer = self._loop.call_later(COMPILE_TIMEOUT_S, self._timed_out, worker)
        self._running[worker] = (compiling, timer)

    def _timed_out(self, worker: Worker) -> None:
        compiling, _timer = self._running.pop(worker)
        self._processes.discard(worker)
        self._decide(compiling, Unit(refusal=f"compiling it took more than {COMPILE_TIMEOUT_S:g} s"))

    def on_frame(self, worker: Worker, payload: bytes | bytearray) -> bool:
        """A frame of a compiling process; False if it is not one."""
        entry = self._running.pop(worker, None)
        if entry is None:
            return False
        compiling, timer = entry
        timer.cancel()
        self._processes.discard(worker)
        try:
            head, _value = split(payload, MAX_CODE_BYTES)
            compiled, refused = _read(head)
            unit = Unit(compiled, refused, _read_warnings(head), _read_declared_uses(head), _read_imports(head))
        except FrameError as error:
            unit = Unit(refusal=f"the compiler answered nonsense: {error}")
        self._decide(compiling, unit)
        return True

    def on_gone(self, worker: Worker) -> bool:
        """A compiling process died; False if it was not one."""
        entry = self._running.pop(worker, None)
        if entry is None:
            return False
        compiling, timer = entry
        timer.cancel()
        if _was_killed(worker.exit_status) and compiling.attempts < MAX_ATTEMPTS:
            self._request(compiling)
            return True
        text = "the compiler's process ended: the source is too deep or too large to be compiled"
        self._decide(compiling, Unit(refusal=text))
        return True

    def _decide(self, compiling: _Compiling, unit: Unit) -> None:
        source = compiling.source
        key = _unit_key(source)
        del self._compiling[key]
        # The code of a flow that imports nothing is in its Code, once.
        if not unit.is_passing and (isinstance(source, Module) or source.library is not None):
            self._units[key] = unit
        for done in compiling.waiting:
            done(unit)

    # ---- a flow with what it imports ---------------------------------------------------------------------------------

    def _link(self, code: Code, library: Library, unit: Unit, units: Units) -> None:
        flow = code.flow
        code.warnings, code.declared_uses = unit.warnings, unit.declared_uses
        if unit.is_passing or any(one.is_passing for one in units.values()):
            # Those who wait hear of it.
            self._codes.pop(code.key, None)
        faults = import_faults(flow, unit, library, units)
        code.is_import_refused = bool(faults) and not unit.refusal
        if unit.refusal or faults:
            self._end(code, b"", unit.refusal or "\n".join(faults))
            return
        code.modules = tuple(library.modules[name] for name in sorted(units))
        linked = flow.linked(code.modules)
        version_key, code.key = code.key, (flow.client_name, linked.script_hash, flow.name)
        known = self._codes.get(code.key)
        if known is not None and known is not code and known.frame:
            # Other modules changed: what is known of this one, and by the processes, stays.
            self._codes[version_key] = known
            self._tell(code, known)
            return
        code.flow = linked
        self._codes[code.key] = code
        head = {"op": "code", "hash": linked.script_hash, "flow": flow.name, "path": source_path(flow)}
        members = [
            {"name": module.name, "path": source_path(module), "source": module.source, "code": units[module.name].code}
            for module in code.modules
        ]
        self._end(code, frame({**head, "source": flow.source, "code": unit.code, "modules": members}), "")

    def _end(self, code: Code, code_frame: bytes, refusal: str) -> None:
        code.frame, code.refusal = code_frame, refusal
        self._tell(code, code)

    def _tell(self, code: Code, decided: Code) -> None:
        waiting, code.waiting = code.waiting, []
        for done in waiting:
            done(decided)


def _unit_key(source: Source) -> _UnitKey:
    return source.client_name, isinstance(source, Module), source.name, source.source


def _was_killed(exit_status: int | None) -> bool:
    """Whether a process was ended by somebody else (or by want of memory), or went with its zygote: no source does so.

    `exit_status` as waitpid(2) has it.
    """
    return exit_status is None or (os.WIFSIGNALED(exit_status) and os.WTERMSIG(exit_status) == signal.SIGKILL)


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


def _read_imports(head: dict[str, Any]) -> tuple[LibImport, ...]:
    """The helper modules that the source imports: [{line, module, is_optional}, ...]."""
    imports = head.get("imports", [])
    if (
        type(imports) is not list
        or len(imports) > MAX_LIB_IMPORTS
        or not all(type(one) is dict and type(one.get("is_optional")) is bool for one in imports)
    ):
        raise FrameError("imports is not a list of objects")
    return tuple(
        LibImport(int_member(one, "line"), text_member(one, "module", MAX_DECLARED_CHARS), one["is_optional"])
        for one in imports
    )


def refusal_faults(flow: Source, refusal: str) -> list[Fault]:
    """A refusal's lines, `flows/client/name.py:12: what`, each as a fault of the file as it lies on disk."""
    faults = []
    for text in refusal.splitlines():
        match = _LINE.fullmatch(text)
        if match is None:
            faults.append(Fault(flow.path, 0, "", text))
        else:
            faults.append(Fault(flow.path, int(match[1]), "", match[2]))
    return faults
