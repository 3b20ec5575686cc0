"""A flow and the helper modules that it imports, directly or through others: which they are, and what is missing. Pure.

Each source is compiled by itself; what they import of each other is put together here, of what their compiled frames
say. A fault is one of the importing file, at its import statement: the module's own file has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..model.library import Library, Module
from ..model.snapshot import Flow, Source
from ..wire.frames import DeclaredUse, LibImport
from ..wire.suggest import closest

MAX_NAMED_MODULES = 20
MAX_IMPORT_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Unit:
    """One source, compiled by itself: `code`, or the `refusal`. The rest as sandbox.compiler.Compiled has it.

    `is_passing`: it could not be compiled, which is not its fault; the next one who asks tries again.
    """

    code: str = ""
    refusal: str = ""
    warnings: tuple[tuple[int, str], ...] = ()
    declared_uses: tuple[DeclaredUse, ...] = ()
    imports: tuple[LibImport, ...] = ()
    is_passing: bool = False


# Of modules, by their names.
Units = Mapping[str, Unit]


def source_path(source: Source) -> str:
    """The file name that tracebacks show: as it stands below the project, never the machine's own path."""
    folder = f"flows/{source.client_name}"
    return f"{folder}/{source.name}.py" if isinstance(source, Flow) else f"{folder}/lib/{source.name}.py"


class Gathering:
    """The units of all modules that a source imports, and of those that they import. `compile_source` compiles one.

    `done` is called with the source's unit and theirs, once all are there.
    """

    def __init__(
        self,
        library: Library,
        compile_source: Callable[[Source, Callable[[Unit], None]], None],
        done: Callable[[Unit, Units], None],
    ) -> None:
        self._library = library
        self._compile_source = compile_source
        self._done = done
        self._root: Unit | None = None
        self._units: dict[str, Unit] = {}
        self._asked: set[str] = set()
        self._waiting: list[LibImport] = []
        self._is_asking = False

    def begin(self, source: Source) -> None:
        """Has the source compiled, and then what it imports."""
        self._compile_source(source, self._take_root)

    def _take_root(self, unit: Unit) -> None:
        self._root = unit
        self._take(unit)

    def _take_module(self, name: str, unit: Unit) -> None:
        self._units[name] = unit
        self._take(unit)

    def _take(self, unit: Unit) -> None:
        self._waiting += unit.imports
        if self._is_asking:
            return  # what is known is answered at once: the loop below goes on with it
        self._is_asking = True
        while self._waiting:
            name = self._waiting.pop().module
            module = self._library.modules.get(name)
            if module is not None and name not in self._asked:
                self._asked.add(name)
                self._compile_source(module, partial(self._take_module, name))
        self._is_asking = False
        if self._root is not None and len(self._units) == len(self._asked):
            self._done(self._root, self._units)


def import_faults(source: Source, unit: Unit, library: Library, units: Units) -> list[str]:
    """Why a source cannot have what it imports, a line for each import."""
    checker = _Checker(source.client_name, library, units)
    path = source_path(source)
    trail = () if isinstance(source, Flow) else (source.name,)
    faults = ((one.line, checker.fault(one, trail)) for one in unit.imports)
    return [f"{path}:{line}: {fault}" for line, fault in faults if fault]


class _Checker:
    """Looks at each module once, however many import it."""

    def __init__(self, client_name: str, library: Library, units: Units) -> None:
        self._client_name = client_name
        self._library = library
        self._units = units
        self._known: dict[str, str] = {}

    def fault(self, one: LibImport, trail: tuple[str, ...]) -> str:
        """What is wrong with an import of a module that `trail` leads to, "" for nothing."""
        name = one.module
        if name in trail:
            return _circle(trail[trail.index(name) :])
        module = self._library.modules.get(name)
        if module is None:
            if name in self._library.unusable:
                return f"the module lib.{name} cannot be used: flows/{self._client_name}/lib/{name}.py cannot be read"
            return "" if one.is_optional else self._missing(name)
        if len(trail) >= MAX_IMPORT_DEPTH:
            return f"modules import each other more than {MAX_IMPORT_DEPTH} deep"
        if name not in self._known:
            inner = self._fault_of(module, (*trail, name))
            self._known[name] = f"the module lib.{name} cannot be used: {inner}" if inner else ""
        return self._known[name]

    def _fault_of(self, module: Module, trail: tuple[str, ...]) -> str:
        unit = self._units[module.name]
        if unit.refusal:
            return unit.refusal.partition("\n")[0]
        for one in unit.imports:
            fault = self.fault(one, trail)
            if fault:
                return f"{source_path(module)}:{one.line}: {fault}"
        return ""

    def _missing(self, name: str) -> str:
        there = sorted({*self._library.modules, *self._library.unusable})
        near = closest(name, there)
        listed = ", ".join(f"lib.{each}" for each in there[:MAX_NAMED_MODULES])
        more = f" and {len(there) - MAX_NAMED_MODULES} more" if len(there) > MAX_NAMED_MODULES else ""
        meant = f" - did you mean lib.{near}?" if near else ""
        there_are = f"there are: {listed}{more}" if there else "the client has no modules"
        return f"there is no module lib.{name} (flows/{self._client_name}/lib/{name}.py){meant}; {there_are}"


def _circle(trail: tuple[str, ...]) -> str:
    first, *others = trail
    steps = "".join(f" imports lib.{name}, which" for name in others)
    itself = "itself" if not others else f"lib.{first}"
    return f"a circle: lib.{first}{steps} imports {itself}; put what both need into a module of its own"
