"""A compiled flow within a worker, with the helper modules that it may import: unmarshalled once, run many times with
fresh globals each time.
"""

from __future__ import annotations

import base64
import gc
import marshal
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType
from typing import Any

from .errors import FlowEnd
from .flow_api import api_objects
from .flow_builtins import BUILTINS
from .helper_modules import ModuleLoader
from .imports import RESET_MODULES
from .memory import MemoryWatch
from .modules.classes import forget_typing
from .modules.numbers import reset_decimal
from .names import FLOW_MODULE
from .run import ERROR, SUCCESS, Run
from .running import RUN_NAME
from .tracebacks import describe_failure

MEMORY = MemoryWatch()

_CO_GENERATOR = 0x20  # inspect.CO_GENERATOR

# How what a flow can change beyond its own objects is reset, by the module that it imports to change it; those of
# imports.RESET_MODULES.
_RESETS: dict[str, Callable[[], None]] = {"decimal": reset_decimal, "typing": forget_typing}


class Program:
    """One flow's code, and that of its modules by name. `sources`: all their texts, by file name in tracebacks."""

    __slots__ = ("_code", "_has_generators", "_has_hashes", "_lines", "_modules")

    def __init__(self, code: CodeType, sources: Mapping[str, str], modules: Mapping[str, CodeType]) -> None:
        self._code = code
        self._modules = modules
        self._lines = {path: source.splitlines() for path, source in sources.items()}
        self._has_generators = self._has_hashes = False
        for each in (code, *modules.values()):
            functions, has_generators = _names_of(each)
            self._has_hashes = self._has_hashes or "__hash__" in functions
            self._has_generators = self._has_generators or has_generators

    def run(self, run: Run) -> bytes:
        """Runs the flow to its end and returns its output as JSON; `run` holds how it ended."""
        # In a list, so that nothing but the list and what the flow made holds it (_is_held).
        holder: list[dict[str, Any]] = [
            {"__builtins__": BUILTINS, "__name__": FLOW_MODULE, RUN_NAME: run, "print": run.print}
        ]
        loader = None
        if self._modules:
            loader = run.modules = ModuleLoader(self._modules, dict(holder[0]))
        try:
            self._call(run, holder[0])
            if not run.status:
                run.status = SUCCESS
                run.message = run.fields["message"]
            output = run.output_json()
        except BaseException as error:
            output = self._failed(run, error)
        self._clean(run, holder, loader, len(output))
        return output

    def _call(self, run: Run, namespace: dict[str, Any]) -> None:
        try:
            try:
                exec(self._code, namespace)
                handler: Any = namespace.get("handler")
                system, this = api_objects(run)
                if _takes_inputs(handler):
                    handler(system, this, run.field("input_value"))
                elif callable(handler):
                    handler(system, this)
                else:
                    run.fail("the flow has no function handler(system, this)")
            finally:
                # The handler has left: what its error or its output do when they are looked at acts no more.
                run.is_open = False
        except FlowEnd:
            if not run.status:
                run.fail("the flow left its end without saying how")
        except MemoryError:
            raise
        except BaseException as error:
            # What a flow throws on its way out does not change how it ended.
            if not run.status:
                run.fail(describe_failure(error, self._lines))

    def _failed(self, run: Run, error: BaseException) -> bytes:
        """Ends a flow that used up its memory, or whose code failed while its output was made JSON."""
        if isinstance(error, MemoryError):
            # What filled the memory may hold itself, or be held by an error that this one came after: until it is
            # freed, there may be no memory to say so with.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            run.close()
            gc.collect()
            run.fail(f"memory_bytes: more than {run.memory_bytes} bytes of memory are needed", "memory_bytes")
        else:
            run.fail(f"the output is not JSON: {describe_failure(error, self._lines)}")
        return b"{}"

    def _clean(self, run: Run, holder: list[dict[str, Any]], loader: ModuleLoader | None, output_bytes: int) -> None:
        """Drops all that the flow made but its output; before its end is reported, as this counts as its own time."""
        imported = run.facades
        run.close()
        holder[0].clear()
        if loader is not None:
            loader.clear()
        is_held = _is_held(holder) or (loader is not None and _are_held(loader))
        if self._has_generators or run.status == ERROR or is_held:
            # A suspended generator in a cycle would run its `finally` during the next execution (SANDBOX, trap 7).
            gc.collect()
            # Code of the flow may still be alive: in a cache of the library, as an attribute of something that is
            # shared, wherever. It would run in a later execution, when it is compared with something or dropped.
            run.wants_fresh = run.wants_fresh or _is_held(holder) or (loader is not None and _are_held(loader))
        if MEMORY.has_grown(output_bytes):
            gc.collect()
            # Left in a cache of the library or elsewhere: the next execution must not pay for it.
            run.wants_fresh = run.wants_fresh or MEMORY.has_grown(output_bytes)
        if imported:
            # Last: a suspended generator may have put something back on its way out (decimal.localcontext).
            for module in RESET_MODULES & imported.keys():
                _RESETS[module]()
        if self._has_hashes:
            # A text that lies about its hash and equality may sit in a cache of the library (struct, strptime, …).
            run.wants_fresh = True


def _is_held(holder: list[dict[str, Any]]) -> bool:
    """Whether code of a flow may be alive: each of its functions holds the globals that it was made in."""
    return sys.getrefcount(holder[0]) > _ALONE


def _are_held(loader: ModuleLoader) -> bool:
    """The same of the modules that it imported."""
    return any(_is_held(holder) for holder in loader.holders)


def _references_alone(holder: list[dict[str, Any]]) -> int:
    return sys.getrefcount(holder[0])


# The count of a dict that only such a list holds.
_ALONE = _references_alone([{}])


def load_program(path: str, source: str, code: str, modules: Iterable[Mapping[str, str]] = ()) -> Program:
    """From a `code` frame. Marshal is safe here: the code was made by a worker of the same client, and runs walled."""
    sources, codes = {path: source}, {}
    for module in modules:
        sources[module["path"]] = module["source"]
        codes[module["name"]] = marshal.loads(base64.b64decode(module["code"]))
    program = Program(marshal.loads(base64.b64decode(code)), sources, codes)
    MEMORY.begin()
    return program


def dump_code(code: CodeType) -> str:
    """For a `compiled` frame."""
    return base64.b64encode(marshal.dumps(code)).decode("ascii")


def _names_of(code: CodeType) -> tuple[set[str], bool]:
    """The names of all functions in the code, and whether some are generators."""
    functions = {code.co_name}
    # A generator expression has no finally; a function cannot have its name.
    has_generators = bool(code.co_flags & _CO_GENERATOR) and code.co_name != "<genexpr>"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner_functions, inner_has_generators = _names_of(constant)
            functions |= inner_functions
            has_generators = has_generators or inner_has_generators
    return functions, has_generators


def _takes_inputs(handler: Any) -> bool:
    """handler(system, this, inputs), as against handler(system, this)."""
    return type(handler) is FunctionType and handler.__code__.co_argcount >= 3
