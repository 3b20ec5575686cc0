"""Wrong uses of `system` and `this` that only a run would show: attributes, arguments, values. Pure.

Nothing here says what the API has: attributes and signatures are those of the real classes (api/), and a call is tried
on real objects before a daemon that is not there, with the values that stand in the source. It sees the handler's two
parameters, whatever they are called, and those of other functions that are called `system` and `this`, or annotated
so; a name that is bound anew counts as unknown.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NoReturn

from ..wire.frames import RunHead
from ..wire.suggest import closest
from .api import executions, records
from .api import system as system_api
from .api.sealed import Sealed
from .api.system import System
from .api.this import This
from .errors import FlowEnd, InvalidInputError, MissingInputError
from .flow_api import api_objects
from .run import Run, RunContext

Warned = tuple[int, str]
Nodes = Sequence[ast.AST]
ApiClass = type[Sealed]
# What a name stands for in a function.
Roles = dict[str, ApiClass]

# Stands for a value that the source does not show; no keyword can be called so.
_UNKNOWN = "…"
_MAX_VALUE_NODES = 100
_CAUGHT = frozenset({"Exception", "BaseException", "CloudomationException", "InvalidInputError", "MissingInputError"})
_ANNOTATIONS = {"System": System, "Execution": This}


def find_api_warnings(tree: ast.Module, nodes: Nodes) -> list[Warned]:
    """All wrong uses in a module, as (line, text). `nodes`: all of the tree."""
    return list(_Finder(tree, nodes).look(tree, {}))


def prepared_for(nodes: Nodes, errors: frozenset[str], *, bare: bool = False) -> set[int]:
    """The ids of all nodes in a `try` whose handlers name one of these errors, or with `bare` catch everything."""
    covered: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Try) and any(_names_one(handler.type, errors, bare) for handler in node.handlers):
            covered.update(id(below) for statement in node.body for below in ast.walk(statement))
    return covered


def _names_one(kind: ast.expr | None, errors: frozenset[str], bare: bool) -> bool:
    if kind is None:
        return bare
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(_last_name(each) in errors for each in kinds)


def asked_names(nodes: Nodes) -> set[str]:
    """Attributes that the source asks for by hasattr or getattr: it is prepared for their absence."""
    return {
        node.args[1].value
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("hasattr", "getattr")
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
        and type(node.args[1].value) is str
    }


def _last_name(node: ast.expr | None) -> str:
    """`Name` of `Name`, `module.Name` and, of an annotation, "module.Name"."""
    if isinstance(node, ast.Constant) and type(node.value) is str:
        return node.value.rpartition(".")[2]
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class _Finder:
    def __init__(self, tree: ast.Module, nodes: Nodes) -> None:
        self._handlers = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "handler"]
        self._prepared = prepared_for(nodes, frozenset({"AttributeError"}))
        self._caught = prepared_for(nodes, _CAUGHT, bare=True)
        self._asked = asked_names(nodes)

    def look(self, node: ast.AST, roles: Roles) -> Iterator[Warned]:
        """What is wrong in a node and below it."""
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            # Defaults and decorators belong to the scope outside; nobody writes there what matters here.
            roles = self._roles_in(node, roles)
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            targets = {name for generator in node.generators for name in _stored(generator.target)}
            roles = {name: kind for name, kind in roles.items() if name not in targets}
        elif isinstance(node, ast.Attribute):
            yield from self._look_at_attribute(node, roles)
        elif isinstance(node, ast.Call):
            yield from self._look_at_call(node, roles)
        for child in ast.iter_child_nodes(node):
            yield from self.look(child, roles)

    def _roles_in(self, function: ast.FunctionDef | ast.Lambda, outer: Roles) -> Roles:
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        others = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        roles = dict(outer)
        for position, each in enumerate([*positional, *arguments.kwonlyargs]):
            roles.pop(each.arg, None)
            role = _role_of(each, position if function in self._handlers else None)
            if role is not None and isinstance(function, ast.FunctionDef):
                roles[each.arg] = role
        if not roles:
            return roles
        bound = {each.arg for each in others}
        for statement in function.body if isinstance(function, ast.FunctionDef) else [function.body]:
            bound |= _stored(statement)
        return {name: kind for name, kind in roles.items() if name not in bound}

    def _look_at_attribute(self, node: ast.Attribute, roles: Roles) -> Iterator[Warned]:
        kind = _kind_of(node.value, roles)
        name = node.attr
        if kind is None or name.startswith("_"):
            return
        spoken = _spoken(node.value, kind)
        if not isinstance(node.ctx, ast.Load):
            yield node.lineno, f"`{spoken}.{name}` cannot be set: this line will fail; keep the value in a variable"
        elif not _has(kind, name) and name not in self._asked and id(node) not in self._prepared:
            yield node.lineno, _no_attribute(kind, spoken, name)

    def _look_at_call(self, call: ast.Call, roles: Roles) -> Iterator[Warned]:
        method = call.func
        if not isinstance(method, ast.Attribute) or method.attr.startswith("_"):
            return
        kind = _kind_of(method.value, roles)
        function = None if kind is None else inspect.getattr_static(kind, method.attr, None)
        is_open = any(isinstance(each, ast.Starred) for each in call.args) or any(
            keyword.arg is None for keyword in call.keywords
        )
        if kind is None or not inspect.isfunction(function) or is_open:
            return
        spoken = f"{_spoken(method.value, kind)}.{method.attr}"
        wrong = _wrong_arguments(function, call)
        if not wrong and isinstance(method.value, ast.Name) and id(call) not in self._caught:
            wrong = _tried(kind, method.attr, call)
        if wrong:
            # The API's own words mostly begin with the call.
            where = "" if wrong.startswith((spoken, f"{kind._spoken}.{method.attr}")) else f"{spoken}: "
            yield call.lineno, f"this call will fail: {where}{wrong}"


def _role_of(argument: ast.arg, position: int | None) -> ApiClass | None:
    """What a parameter stands for. `position`: that among the handler's."""
    annotated = None if argument.annotation is None else _ANNOTATIONS.get(_last_name(argument.annotation))
    if position in (0, 1):
        return (System, This)[position]
    if argument.annotation is not None:
        # A child is an Execution too.
        return annotated if annotated is System or argument.arg == "this" else None
    return {"system": System, "this": This}.get(argument.arg)


def _spoken(node: ast.expr, kind: ApiClass) -> str:
    """How a warning calls an object: as the source does, where that is short."""
    holder = node
    while isinstance(holder, ast.Attribute):
        holder = holder.value
    return ast.unparse(node) if isinstance(holder, ast.Name) else kind._spoken


def _stored(node: ast.AST) -> set[str]:
    """All names that are bound in a node, at whatever depth, but for parameters and comprehensions' own."""
    names: set[str] = set()
    own = {
        id(name) for below in ast.walk(node) if isinstance(below, ast.comprehension) for name in ast.walk(below.target)
    }
    for below in ast.walk(node):
        if isinstance(below, ast.Name) and not isinstance(below.ctx, ast.Load) and id(below) not in own:
            names.add(below.id)
        elif isinstance(below, (ast.FunctionDef, ast.ClassDef)):
            names.add(below.name)
        elif isinstance(below, ast.alias):
            names.add((below.asname or below.name).partition(".")[0])
        elif isinstance(below, ast.ExceptHandler) and below.name:
            names.add(below.name)
    return names


# ---- what the classes say --------------------------------------------------------------------------------------------

_KINDS: dict[str, Any] = {
    name: kind
    for module in (executions, records, system_api)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Sealed)
}


def _kind_of(node: ast.expr, roles: Roles) -> ApiClass | None:
    """The class of the API that an expression gives an object of, as far as the source tells."""
    if isinstance(node, ast.Name):
        return roles.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        kind = _kind_of(node.func.value, roles)
        method = None if kind is None else inspect.getattr_static(kind, node.func.attr, None)
        return _annotated(kind, method) if inspect.isfunction(method) else None
    if isinstance(node, ast.Attribute):
        kind = _kind_of(node.value, roles)
        member = None if kind is None else inspect.getattr_static(kind, node.attr, None)
        return _annotated(kind, member.fget) if isinstance(member, property) else None
    return None


def _annotated(kind: ApiClass | None, function: Any) -> ApiClass | None:
    """The class that a function of `kind` says to give."""
    name = str(function.__annotations__.get("return", ""))
    found = kind if name == "Self" else _KINDS.get(name)
    return found if found is not None and found not in (Sealed, executions.Execution, records.Record) else None


def _names(kind: ApiClass) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


def _has(kind: ApiClass, name: str) -> bool:
    return name in _names(kind)


def _no_attribute(kind: ApiClass, spoken: str, name: str) -> str:
    instead = kind._missing.get(name)
    if instead is not None:
        return f"{spoken}.{name} is not available in whd; {instead}"
    text = f"{spoken} has no `{name}`: this line will fail"
    near = closest(name, _names(kind))
    return f"{text} - did you mean {spoken}.{near}?" if near else f"{text}; it has: {', '.join(sorted(_names(kind)))}"


@cache
def _parameters(function: Any) -> list[inspect.Parameter]:
    """Without `self`."""
    return list(inspect.signature(function).parameters.values())[1:]


def _wrong_arguments(function: Any, call: ast.Call) -> str:
    """What the signature does not allow, "" for nothing."""
    parameters = _parameters(function)
    takes = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for keyword in call.keywords:
        if keyword.arg not in takes and not takes_any:
            near = closest(keyword.arg or "", takes)
            hint = f" - did you mean {near}?" if near else f"; it takes {', '.join(takes) or 'none by name'}"
            return f"there is no argument {keyword.arg!r}{hint}"
    # The others go into the last parameter, also under the name of one that can only be given by position.
    named: dict[str, Any] = {str(keyword.arg): keyword for keyword in call.keywords if keyword.arg in takes}
    try:
        inspect.Signature(parameters).bind(*call.args, **named)
    except TypeError as error:
        return str(error)
    return ""


# ---- a call, tried ---------------------------------------------------------------------------------------------------


class _Asked(BaseException):
    """The call came as far as the daemon: whatever it gave is fine so far."""


class _NoDaemon:
    """A channel to nobody."""

    def __getattr__(self, _name: str) -> NoReturn:
        raise _Asked


def _objects() -> dict[ApiClass, Sealed]:
    limits = dict.fromkeys(("max_output_bytes", "max_log_bytes", "max_calls", "memory_bytes"), 1 << 30)
    head = RunHead(0, 0, False, 0, 0, b"0" * 36, "")
    about = dict.fromkeys(("name", "flow_name", "webhook_name", "user_name", "client_name"), "…")
    no_daemon: Any = _NoDaemon()
    system, this = api_objects(Run(head, RunContext({**about, "type": "FLOW"}, limits), None, no_daemon))
    return {System: system, This: this}


def _tried(kind: ApiClass, name: str, call: ast.Call) -> str:
    """What the API says to a call, as far as that is plain without knowing all values; "" for nothing."""
    given = [_value(argument) for argument in call.args]
    named = {str(keyword.arg): _value(keyword.value) for keyword in call.keywords}
    try:
        getattr(_objects()[kind], name)(*given, **named)
    except MissingInputError as error:
        return str(error)
    except InvalidInputError as error:
        text = str(error)
        is_plain = _UNKNOWN not in map(str, [*given, *named.values()])
        # An error that quotes what stands in the source is about that, and not about what stands for the rest.
        quoted = [*named, *(value for value in [*given, *named.values()] if type(value) is str and value != _UNKNOWN)]
        return text if is_plain or any(repr(word) in text for word in quoted) else ""
    except (_Asked, FlowEnd, Exception):
        # Whatever else it says is about values that are not known here.
        return ""
    return ""


def _value(node: ast.expr) -> Any:
    """The value of a literal, and a text that stands for any other."""
    if sum(1 for _ in ast.walk(node)) > _MAX_VALUE_NODES:
        return _UNKNOWN
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNKNOWN
