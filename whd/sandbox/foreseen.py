"""What will fail only when a flow runs, as far as its source plainly tells: names that are defined nowhere, names that
the offered modules do not have, and wrong uses of `system` and `this` (api_use.py). Pure.

For `whd check`, which warns of it. What is there is asked of the real facades, builtins and classes. It is silent where
it is not sure: about names that are bound twice, and where the flow itself is prepared for the failure.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Iterator

from ..wire.suggest import closest
from . import refusals
from .api_use import Nodes, Warned, asked_names, find_api_warnings, prepared_for
from .flow_builtins import BUILTINS
from .lib_imports import is_lib
from .modules import FACADES, RUN_FACADES
from .modules.facade import Facade, public_names

MAX_FORESEEN = 200
# Beyond this a source is not looked at: it must be compiled in time, and nobody wrote it by hand.
MAX_SOURCE_CHARS = 262_144
MAX_NAMED = 15

_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError"})


def find_foreseen(tree: ast.Module, source: str, path: str) -> list[Warned]:
    """All of them as (line, text)."""
    if len(source) > MAX_SOURCE_CHARS:
        return []
    nodes = list(ast.walk(tree))
    found = [
        *_undefined_names(tree, nodes, source, path),
        *_Modules(nodes).warnings(),
        *find_api_warnings(tree, nodes),
    ]
    return sorted(set(found))[:MAX_FORESEEN]


# ---- names that are defined nowhere ----------------------------------------------------------------------------------


def _undefined_names(tree: ast.Module, nodes: Nodes, source: str, path: str) -> Iterator[Warned]:
    try:
        table = symtable.symtable(source, path, "exec")
    except SyntaxError:
        return  # it is refused, in better words
    tables = list(_all_tables(table))
    defined = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    for each in tables:
        defined |= {s.get_name() for s in each.get_symbols() if s.is_declared_global() and s.is_assigned()}
    known = {*defined, *(name for name in BUILTINS if not name.startswith("_")), "print"}
    unknown: dict[str, int] = {}
    for each in tables:
        for symbol in each.get_symbols():
            name = symbol.get_name()
            is_global = each is table or symbol.is_global()
            if is_global and symbol.is_referenced() and name not in known and not name.startswith("_"):
                unknown[name] = min(each.get_lineno(), unknown.get(name, each.get_lineno()))
    if not unknown:
        return
    # For what was meant, a parameter or local name will do too.
    bound = {symbol.get_name() for each in tables for symbol in each.get_symbols() if symbol.is_local()}
    skipped = _unevaluated(tree, nodes) | prepared_for(nodes, frozenset({"NameError"}))
    for node in _name_loads(nodes):
        first = unknown.get(node.id)
        # What is refused outright says more.
        if first is None or node.lineno < first or id(node) in skipped or node.id in refusals.MISSING_BUILTINS:
            continue
        del unknown[node.id]
        yield node.lineno, _undefined(node.id, (known | bound) - {node.id})


def _all_tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    waiting = [table]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += each.get_children()


def _name_loads(nodes: Nodes) -> list[ast.Name]:
    loads = (node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return sorted(loads, key=lambda node: node.lineno)


def _unevaluated(tree: ast.Module, nodes: Nodes) -> set[int]:
    """The nodes of annotations that nobody evaluates: of variables in functions, and all under `annotations`."""
    is_lazy = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    annotations: list[ast.expr | None] = []
    for function in nodes:
        if isinstance(function, ast.FunctionDef):
            annotations += [node.annotation for node in ast.walk(function) if isinstance(node, ast.AnnAssign)]
            if is_lazy:
                annotations.append(function.returns)
        elif is_lazy and isinstance(function, (ast.arg, ast.AnnAssign)):
            annotations.append(function.annotation)
    return {id(node) for annotation in annotations if annotation is not None for node in ast.walk(annotation)}


def _undefined(name: str, known: Iterable[str]) -> str:
    text = f"the name `{name}` is not defined here: this will fail"
    if name in ("system", "this"):
        return f"{text}; hand it on as an argument, it is one of the handler's"
    if name in FACADES or name in RUN_FACADES:
        return f"{text}; write `import {name}`"
    near = closest(name, known)
    return f"{text} - did you mean {near}?" if near else text


# ---- what the offered modules do not have ----------------------------------------------------------------------------


def offered_module(name: str) -> Facade | None:
    """The facade that an import of this name gets."""
    make = RUN_FACADES.get(name)
    return make(None) if make is not None else FACADES.get(name)


class _Modules:
    """Names that stand for an offered module wherever they are used, and what is read of them."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._prepared = prepared_for(nodes, frozenset({"AttributeError"}))
        self._asked = asked_names(nodes)
        self._imports: list[Warned] = []
        bound: dict[str, list[Facade | None]] = {}
        prepared_imports = prepared_for(nodes, _IMPORT_ERRORS)
        for node in nodes:
            for name, facade in self._bindings(node, is_prepared=id(node) in prepared_imports):
                bound.setdefault(name, []).append(facade)
        self._facades: dict[str, Facade] = {"flow_api": FACADES["flow_api"]}
        for name, facades in bound.items():
            self._facades.pop(name, None)
            first = facades[0]
            if first is not None and all(facade is first for facade in facades):
                self._facades[name] = first

    def warnings(self) -> Iterator[Warned]:
        yield from self._imports
        for node in self._nodes:
            if not isinstance(node, ast.Attribute) or node.attr.startswith("_"):
                continue
            facade = self._facade_of(node.value)
            if facade is None:
                continue
            if not isinstance(node.ctx, ast.Load):
                yield node.lineno, f"modules cannot be changed: setting `{ast.unparse(node)}` will fail"
            elif not (node.attr in public_names(facade) or node.attr in self._asked or id(node) in self._prepared):
                yield node.lineno, _not_offered(facade, node.attr)

    def _bindings(self, node: ast.AST, *, is_prepared: bool) -> Iterator[tuple[str, Facade | None]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                name = alias.name if alias.asname else top
                yield alias.asname or top, None if is_lib(name) else _shared(name)
        elif isinstance(node, ast.ImportFrom):
            facade = None if node.level or is_lib(node.module or "") else _shared(node.module or "")
            for alias in node.names:
                value = None if facade is None else facade.__dict__.get(alias.name)
                is_missing = facade is not None and alias.name not in public_names(facade)
                if is_missing and not is_prepared and alias.name != "*" and node.module != "__future__":
                    self._imports.append((node.lineno, _not_offered(facade, alias.name, what="import")))
                yield alias.asname or alias.name, value if isinstance(value, Facade) else None
        else:
            for name in _bound_by(node):
                yield name, None

    def _facade_of(self, node: ast.expr) -> Facade | None:
        if isinstance(node, ast.Name):
            return self._facades.get(node.id)
        if isinstance(node, ast.Attribute):
            outer = self._facade_of(node.value)
            value = None if outer is None else outer.__dict__.get(node.attr)
            return value if isinstance(value, Facade) else None
        return None


_made: dict[str, Facade] = {}


def _shared(name: str) -> Facade | None:
    """`offered_module`, the same object each time."""
    if name not in _made and (facade := offered_module(name)) is not None:
        _made[name] = facade
    return _made.get(name)


def _bound_by(node: ast.AST) -> Iterator[str]:
    """The names that a node binds otherwise than by import."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)) and node.name is not None:
        yield node.name


def _not_offered(facade: Facade | None, name: str, what: str = "line") -> str:
    assert facade is not None
    title: str = facade.__dict__["_title"]
    text = f"flows have no `{name}` in the module `{title}`: this {what} will fail"
    instead = refusals.module_name_instead(title, name)
    if instead:
        return f"{text}; {instead}"
    there = public_names(facade)
    classes = {each: facade.__dict__[each] for each in there if isinstance(facade.__dict__[each], type)}
    # datetime.now and the like: a method of the class, which has the module's name.
    if title in classes and hasattr(classes[title], name):
        return f"{text} - did you mean {title}.{title}.{name}?"
    near = closest(name, there)
    if near:
        return f"{text} - did you mean {near}?"
    listed = ", ".join(there[:MAX_NAMED]) + (", …" if len(there) > MAX_NAMED else "")
    return f"{text}; it has: {listed}"
