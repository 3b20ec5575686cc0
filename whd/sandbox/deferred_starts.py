"""Which children a flow makes in one statement and starts in a later one. Pure; reads a source before it is changed.

The scripts of 2018 and 2019 write `child = this.flow('x')` and further down, in the same function, `child.run()` or
`child.run_async()`. What they mean is run=False: started where it stands, they would run one after the other and fail
before the `try` around `.run()`. A script of later years writes the first line alone, and means it to run there. So
each function is read, and its calls of `flow`, `task` and `connect` are followed to where they are started: through
names, attributes (`self.child`), lists, dicts, loops and comprehensions, and into the functions within. A name that was
given another value in between is not the child any more. What is handed to another function is not followed.

Every way through a function counts, so a child may be deferred that is not started after all on the way that is taken.
Such a child runs when its output is asked for (api/executions.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

MAKERS = frozenset({"flow", "task", "connect"})
STARTERS = frozenset({"run", "run_async"})
# Who names one of these says himself when the child starts.
_OPTIONS = frozenset({"run", "wait"})
# Methods that put their arguments into what they are called on, those that give out what it holds, and functions that
# give out what they were given.
_ADDERS = frozenset({"append", "appendleft", "add", "insert", "extend", "extendleft", "update", "setdefault"})
_TAKERS = frozenset({"pop", "popleft", "popitem", "values", "items", "get", "copy", "setdefault", "wait", *STARTERS})
_PASSERS = frozenset(
    {
        "list", "tuple", "set", "frozenset", "dict", "sorted", "reversed", "enumerate", "zip", "iter", "next", "map",
        "filter", "deque", "chain", "from_iterable", "OrderedDict",
    }
)  # fmt: skip

# Calls that make a child, by their place in `_Finder.made`.
Children = frozenset[int]
# What each name, or path of names (`self.child`), may hold.
Holders = dict[str, Children]
_NONE: Children = frozenset()


def find_deferred_starts(tree: ast.Module) -> list[ast.Call]:
    """The calls of `flow`, `task` and `connect` in a module whose children are started in a later statement."""
    if not any(isinstance(node, ast.Attribute) and node.attr in STARTERS for node in ast.walk(tree)):
        return []
    finder = _Finder()
    finder.read(tree.body, {})
    return [finder.made[number] for number in sorted(finder.started)]


class _Finder:
    """`made`: all calls that make a child; `started`: which of them are started by a name of theirs."""

    def __init__(self) -> None:
        self.made: list[ast.Call] = []
        self.started: set[int] = set()
        self._numbers: dict[ast.Call, int] = {}

    def number(self, call: ast.Call) -> int:
        """A call's place in `made`."""
        number = self._numbers.setdefault(call, len(self.made))
        if number == len(self.made):
            self.made.append(call)
        return number

    def read(self, body: list[ast.stmt], outer: Holders) -> None:
        """Reads a function's body, then the functions within, which may be called at any time."""
        reader = _Reader(self, outer)
        reader.run(body)
        for function in reader.functions:
            parameters = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
            ever = {**outer, **reader.ever}
            within = {path: children for path, children in ever.items() if path.partition(".")[0] not in parameters}
            self.read(function.body, within)


class _Reader:
    """Follows the children through one function. `holds`: now; `ever`: at any time; `functions`: those within."""

    def __init__(self, finder: _Finder, outer: Holders) -> None:
        self._finder = finder
        self.holds = dict(outer)
        self.ever: Holders = {}
        # Once each, however often their surroundings are read: they may hold functions of their own.
        self.functions: dict[ast.FunctionDef, None] = {}

    # ---- statements --------------------------------------------------------------------------------------------------

    def run(self, body: Iterable[ast.stmt]) -> None:
        """Reads statements in their order."""
        for statement in body:
            read = _STATEMENTS.get(type(statement))
            if read is not None:
                read(self, statement)
            else:
                for part in ast.iter_child_nodes(statement):
                    self.value(part)

    def _assign(self, node: ast.Assign) -> None:
        value = node.value
        for target in node.targets:
            if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
                parts = [*target.elts, *value.elts]
                if len(target.elts) == len(value.elts) and not any(isinstance(part, ast.Starred) for part in parts):
                    children = [self.value(part) for part in value.elts]
                    for part, child in zip(target.elts, children, strict=True):
                        self._bind(part, child)
                    continue
            self._bind(target, self.value(value))

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target, self.value(node.value))

    def _augmented(self, node: ast.AugAssign) -> None:
        self._add(node.target, self.value(node.value))

    def _for(self, node: ast.For) -> None:
        def once() -> None:
            self._bind(node.target, self.value(node.iter))
            self.run(node.body)

        self._repeated(once)
        self.run(node.orelse)

    def _while(self, node: ast.While) -> None:
        def once() -> None:
            self.value(node.test)
            self.run(node.body)

        self._repeated(once)
        self.run(node.orelse)

    def _repeated(self, once: Callable[[], None]) -> None:
        """A loop's body: not at all, or again and again, until nothing new is held."""
        before = self.holds
        self.holds = dict(before)
        once()
        after = _either(before, self.holds)
        if after != before:
            self.holds = dict(after)
            once()
        self.holds = _either(after, self.holds)

    def _if(self, node: ast.If) -> None:
        self.value(node.test)
        before = self.holds
        self.holds = dict(before)
        self.run(node.body)
        then, self.holds = self.holds, dict(before)
        self.run(node.orelse)
        self.holds = _either(then, self.holds)

    def _try(self, node: ast.Try) -> None:
        # An error may come after each statement.
        anywhere = self.holds
        for statement in node.body:
            self.holds = dict(self.holds)
            self.run([statement])
            anywhere = _either(anywhere, self.holds)
        self.run(node.orelse)
        after = self.holds
        for handler in node.handlers:
            self.holds = dict(anywhere)
            self.run(handler.body)
            after = _either(after, self.holds)
        if node.finalbody:
            self.holds = _either(anywhere, after)
            if self.holds != after:
                self.run(node.finalbody)
                self.holds = dict(after)
            self.run(node.finalbody)
        else:
            self.holds = after

    def _with(self, node: ast.With) -> None:
        for item in node.items:
            children = self.value(item.context_expr)
            if item.optional_vars is not None:
                self._bind(item.optional_vars, children)
        self.run(node.body)

    def _function(self, node: ast.FunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            self.value(part)
        self._bind(ast.Name(id=node.name, ctx=ast.Store()), _NONE)
        self.functions[node] = None

    def _class(self, node: ast.ClassDef) -> None:
        self.run(node.body)

    # ---- holders -----------------------------------------------------------------------------------------------------

    def _bind(self, target: ast.expr, children: Children) -> None:
        """The target holds these from now on."""
        if isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self._bind(part, children)
        elif isinstance(target, ast.Starred):
            self._bind(target.value, children)
        elif isinstance(target, ast.Subscript):
            self.value(target.slice)
            self._add(target.value, children)
        else:
            path = _path(target)
            if path:
                self.holds[path] = children
                self.ever[path] = self.ever.get(path, _NONE) | children

    def _add(self, target: ast.expr, children: Children) -> None:
        """The target, or the list or dict that it is an item of, holds these too."""
        while isinstance(target, ast.Subscript):
            target = target.value
        path = _path(target)
        if path and children:
            self._bind(target, self.holds.get(path, _NONE) | children)

    # ---- expressions -------------------------------------------------------------------------------------------------

    def value(self, node: ast.AST | None) -> Children:
        """The children that an expression gives, alone or within a list, dict or iterator."""
        match node:
            case None | ast.Constant():
                return _NONE
            case ast.Name():
                return self.holds.get(node.id, _NONE)
            case ast.Call():
                return self._call(node)
            case ast.Attribute():
                children = self.value(node.value)
                if node.attr in STARTERS:
                    self._finder.started |= children
                return self.holds.get(_path(node), _NONE)
            case ast.Subscript():
                self.value(node.slice)
                return self.value(node.value)
            case ast.NamedExpr():
                children = self.value(node.value)
                self._bind(node.target, children)
                return children
            case ast.Lambda():
                return self._lambda(node, _NONE)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node)
            case ast.IfExp():
                self.value(node.test)
                return self.value(node.body) | self.value(node.orelse)
            case ast.Dict():
                return self._all([*node.keys, *node.values])
        children = self._all(ast.iter_child_nodes(node))
        kept = isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Starred | ast.BinOp | ast.BoolOp | ast.keyword)
        return children if kept else _NONE

    def _all(self, nodes: Iterable[ast.AST | None]) -> Children:
        return _NONE.union(*[self.value(node) for node in nodes])

    def _call(self, node: ast.Call) -> Children:
        method = node.func
        plain = [part for part in (*node.args, *node.keywords) if not isinstance(part, ast.Lambda)]
        given = self._all(plain)
        for part in node.args:
            if isinstance(part, ast.Lambda):
                given |= self._lambda(part, given)
        if isinstance(method, ast.Attribute):
            holder = self.value(method.value)
            if method.attr in MAKERS:
                named = any(keyword.arg in _OPTIONS for keyword in node.keywords)
                return _NONE if named else frozenset({self._finder.number(node)})
            if method.attr in STARTERS:
                self._finder.started |= holder
            if method.attr in _ADDERS:
                self._add(method.value, given)
            if method.attr in _TAKERS:
                return holder | given
            return given if method.attr in _PASSERS else _NONE
        self.value(method)
        return given if isinstance(method, ast.Name) and method.id in _PASSERS else _NONE

    def _lambda(self, node: ast.Lambda, given: Children) -> Children:
        """A function that is called with what stands beside it: map(lambda child: child.run_async(), children)."""
        before = self.holds
        names = [argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
        self.holds = {**before, **dict.fromkeys(names, given)}
        children = self.value(node.body)
        self.holds = before
        return children

    def _comprehension(self, node: Any) -> Children:
        before = self.holds
        self.holds = dict(before)
        for generator in node.generators:
            self._bind(generator.target, self.value(generator.iter))
            self._all(generator.ifs)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        children = self._all(parts)
        self.holds = before
        return children


_STATEMENTS: dict[type, Callable[[_Reader, Any], None]] = {
    ast.Assign: _Reader._assign,
    ast.AnnAssign: _Reader._annotated,
    ast.AugAssign: _Reader._augmented,
    ast.For: _Reader._for,
    ast.While: _Reader._while,
    ast.If: _Reader._if,
    ast.Try: _Reader._try,
    ast.With: _Reader._with,
    ast.FunctionDef: _Reader._function,
    ast.ClassDef: _Reader._class,
}


def _either(one: Holders, other: Holders) -> Holders:
    """What is held where two ways through a function meet."""
    if one == other:
        return one
    return {path: one.get(path, _NONE) | other.get(path, _NONE) for path in {*one, *other}}


def _path(node: ast.AST) -> str:
    """`child`, `self.child`; "" for what is no name nor an attribute of one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _path(node.value)
        return base and f"{base}.{node.attr}"
    return ""
