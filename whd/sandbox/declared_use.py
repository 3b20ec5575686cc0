"""What a flow's source plainly uses: the settings, files, flows and URLs that it names literally. Pure.

For `whd check`, which warns of what the user may not do. Runs in a walled process, like all that reads a source. It
sees calls on `system` and `this` (or what the handler calls them) with a text, or with a name that is bound to a text
once; a record that is kept in a variable is followed by that variable's name. What it cannot see, it leaves out.
"""

from __future__ import annotations

import ast

from ..wire.frames import MAX_DECLARED_CHARS, MAX_DECLARED_USES, DeclaredUse

_READS = frozenset({"get", "load", "exists"})
_WRITES = frozenset({"save", "update", "delete", "list_append", "acquire", "release"})


def find_declared_uses(tree: ast.Module) -> tuple[DeclaredUse, ...]:
    """All uses in a module, in the order of its lines, each once."""
    found = _Finder(tree).find()
    return tuple(sorted(found))[:MAX_DECLARED_USES]


class _Finder:
    def __init__(self, tree: ast.Module) -> None:
        self._nodes = list(ast.walk(tree))
        self._system, self._this = _handler_names(tree)
        self._bound = _bound_once(self._nodes)

    def find(self) -> set[DeclaredUse]:
        calls = [node for node in self._nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
        found: set[DeclaredUse] = set()
        used: set[int] = set()
        for call in calls:
            method = call.func
            assert isinstance(method, ast.Attribute)
            action = "read" if method.attr in _READS else "write" if method.attr in _WRITES else ""
            record = self._record(method.value) if action else None
            if record is not None:
                kind, name, made = record
                found.add(DeclaredUse(call.lineno, f"{action}_{kind}", name))
                used.add(id(made))
        for call in calls:
            found.update(self._used_by(call, is_used=id(call) in used))
        return {use for use in found if 0 < len(use.name) <= MAX_DECLARED_CHARS}

    def _record(self, node: ast.expr) -> tuple[str, str, ast.Call] | None:
        """Kind and name of a setting or file, and the call that made it; through a variable, too."""
        if isinstance(node, ast.Name):
            node = self._bound.get(node.id, node)
        if not isinstance(node, ast.Call) or self._called(node, self._system) not in ("setting", "file"):
            return None
        assert isinstance(node.func, ast.Attribute)
        name = self._text(_selected(node))
        return None if name is None else (node.func.attr, name, node)

    def _used_by(self, call: ast.Call, *, is_used: bool) -> list[DeclaredUse]:
        """What a call on `system` or `this` itself uses."""
        kind = self._called(call, self._system)
        if kind in ("setting", "file"):
            name = self._text(_selected(call))
            saves = _saves_at_once(call)
            if name is None or (is_used and not saves):
                return []
            return [DeclaredUse(call.lineno, f"write_{kind}" if saves else kind, name)]
        if kind == "flow":
            name = self._text(_selected(call))
            return [] if name is None else [DeclaredUse(call.lineno, "see_flow", name)]
        kind = self._called(call, self._this)
        if kind == "flow":
            name = self._text(_argument(call, "flow_name"))
            return [] if name is None else [DeclaredUse(call.lineno, "run_flow", name)]
        return self._used_by_task(call) if kind in ("task", "connect") else []

    def _used_by_task(self, call: ast.Call) -> list[DeclaredUse]:
        kind = self._text(_argument(call, "connector_type"))
        if kind is not None and kind != "REST":
            return [DeclaredUse(call.lineno, "task", kind)]
        url = self._text(_keyword(call, "url"))
        for inputs in (_keyword(call, "inputs"), _keyword(call, "input_value"), *call.args[1:2]):
            if isinstance(inputs, ast.Name):
                inputs = self._bound.get(inputs.id)
            if url is None and isinstance(inputs, ast.Dict):
                url = next((self._text(value) for key, value in _items(inputs) if key == "url"), None)
        return [] if url is None else [DeclaredUse(call.lineno, "connect", url)]

    def _called(self, call: ast.Call, holders: frozenset[str]) -> str:
        """The method's name, if it is called on one of the handler's two objects."""
        method = call.func
        if isinstance(method, ast.Attribute) and isinstance(method.value, ast.Name) and method.value.id in holders:
            return method.attr
        return ""

    def _text(self, node: ast.expr | None) -> str | None:
        if isinstance(node, ast.Name):
            node = self._bound.get(node.id)
        return node.value if isinstance(node, ast.Constant) and type(node.value) is str else None


def _handler_names(tree: ast.Module) -> tuple[frozenset[str], frozenset[str]]:
    """What the handler calls `system` and `this`; functions that it calls mostly use the usual names."""
    system, this = {"system"}, {"this"}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "handler":
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            system.update(names[:1])
            this.update(names[1:2])
    return frozenset(system - this), frozenset(this)


def _bound_once(nodes: list[ast.AST]) -> dict[str, ast.expr]:
    """Names that the module binds in one place only, by plain assignment, and to what."""
    values: dict[str, ast.expr] = {}
    times: dict[str, int] = {}
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            times[node.id] = times.get(node.id, 0) + 1
        elif isinstance(node, ast.arg):
            times[node.arg] = times.get(node.arg, 0) + 1
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = node.value
    return {name: value for name, value in values.items() if times[name] == 1}


def _argument(call: ast.Call, name: str) -> ast.expr | None:
    """The first argument, which may be given by its name."""
    return call.args[0] if call.args else _keyword(call, name)


def _selected(call: ast.Call) -> ast.expr | None:
    """What names a record: the first argument, select= or name=; None where it is chosen by its id."""
    if _keyword(call, "by") is not None:
        return None
    return _argument(call, "select") or _keyword(call, "name")


def _saves_at_once(call: ast.Call) -> bool:
    save = call.args[2] if len(call.args) > 2 else _keyword(call, "save")
    if isinstance(save, ast.Constant) and save.value is False:
        return False
    fields = any(keyword.arg in ("value", "content", "text", "init") for keyword in call.keywords)
    return fields or len(call.args) > 1


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _items(node: ast.Dict) -> list[tuple[object, ast.expr]]:
    return [
        (key.value, value) for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)
    ]
