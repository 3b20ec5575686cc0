"""The language of flows: RestrictedPython's transformer with the project's widenings, reviewed in this one place.

The unknown is refused (RestrictedPython's generic_visit). It is a lint that keeps honest flows honest; the wall is the
process (isolation/). It differs from RestrictedPython in where it guards:

- Nothing that a flow can hold is a proxy that hides its items from it, so items, iteration, unpacking and calls need no
  guard and stay plain Python. What is shared between executions is immutable instead (modules/).
- An attribute is read plainly if its name is known to be harmless on every object (modules.fast_names), through
  `_getattr_` otherwise. Private and internal names never compile.
- An attribute is written through `_write_`, which lets a flow change only what it made itself.
- A child that a later statement starts is made by `_deferred_` (deferred_starts.py).
- Every `try` first lets the end of the flow pass (`_end_`), so that `except:` cannot keep a flow alive.

Guards are names that start with an underscore, which a flow can neither bind nor shadow: every place where Python
binds a name is checked (CVE-2026-55830 was one that was not).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from RestrictedPython.transformer import RestrictingNodeTransformer

from . import refusals
from .formatting import is_plain_template
from .lib_imports import LIB, is_lib
from .modules import is_importable
from .names import CAREFUL_NAMES, CLASS_METHODS, INTERNAL_NAMES

SyntaxNode = ast.AST


class Policy(RestrictingNodeTransformer):
    """Transforms one module in place; `refused` and `warned` hold (line, what, instead).

    `fast_names`: attributes that need no guard. `bound_names`: every name that the module binds anywhere. `deferred`:
    calls that make a child and leave it to a later statement to start it.
    """

    def __init__(
        self, fast_names: frozenset[str], bound_names: frozenset[str], deferred: Iterable[ast.Call] = ()
    ) -> None:
        super().__init__()
        self.refused: list[tuple[int, str, str]] = []
        self.warned: list[tuple[int, str]] = []
        self._fast_names = fast_names - CAREFUL_NAMES
        self._bound_names = bound_names
        self._deferred = frozenset(deferred)
        self._in_class_body = False

    # ---- refusing ----------------------------------------------------------------------------------------------------

    def refuse(self, node: SyntaxNode, text: tuple[str, str]) -> None:
        """Notes a refusal: (what, instead)."""
        self.refused.append((getattr(node, "lineno", 0), *text))

    def error(self, node: SyntaxNode, info: str) -> None:
        """What RestrictedPython itself refuses and no method here has better words for."""
        self.refuse(node, (info.rstrip("."), "write it differently"))

    def not_allowed(self, node: SyntaxNode) -> None:
        """A kind of node that is not known or not wanted."""
        self.refuse(node, refusals.node(type(node).__name__))

    def warn(self, node: SyntaxNode, info: str) -> None:
        """RestrictedPython's warnings say nothing that a refusal does not."""

    def check_name(self, node: SyntaxNode, name: str | None, allow_magic_methods: bool = False) -> None:
        """Every name that is bound or read comes through here."""
        if name is None or name == "_":
            return
        if name.startswith("_"):
            if not (allow_magic_methods and self._in_class_body and name in CLASS_METHODS):
                self.refuse(node, refusals.private_name(name))
        elif name == "super" and not isinstance(getattr(node, "ctx", None), ast.Load):
            # super().__init__ is let through by that name.
            self.refuse(node, ("`super` cannot be given another meaning", "choose another name"))

    # ---- names and attributes ----------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> SyntaxNode:
        """Private names are refused; `print` is an ordinary name here."""
        self.check_name(node, node.id)
        if isinstance(node.ctx, ast.Load):
            always = node.id in ("exec", "eval")
            if node.id in refusals.MISSING_BUILTINS and (always or node.id not in self._bound_names):
                self.refuse(node, refusals.missing_builtin(node.id))
        return node

    def visit_Attribute(self, node: ast.Attribute) -> SyntaxNode:
        """Reads of names that are not known to be harmless go through `_getattr_`, all writes through `_write_`."""
        name = node.attr
        if name.startswith("_") and name != "_":
            self.refuse(node, refusals.private_attribute(name))
        elif name in INTERNAL_NAMES:
            self.refuse(node, refusals.internal_attribute(name))
        self.node_contents_visit(node)
        if not isinstance(node.ctx, ast.Load):
            node.value = _guard("_write_", node.value)
            return node
        if name in self._fast_names or _is_plain_format(node):
            return node
        return _guard("_getattr_", node.value, ast.Constant(name), at=node)

    def visit_Call(self, node: ast.Call) -> SyntaxNode:
        """A call stays a call. `super().__init__(…)` and its kin pass, called at once and on super() only."""
        method = node.func
        if (
            isinstance(method, ast.Attribute)
            and method.attr in CLASS_METHODS
            and isinstance(method.value, ast.Call)
            and isinstance(method.value.func, ast.Name)
            and method.value.func.id == "super"
        ):
            node.func = _guard("_super_", self.visit(method.value), ast.Constant(method.attr), at=method)
            node.args = [self.visit(argument) for argument in node.args]
            node.keywords = [self.visit(keyword) for keyword in node.keywords]
            return node
        self.node_contents_visit(node)
        if node in self._deferred and isinstance(method, ast.Attribute):
            node.func = _guard("_deferred_", method.value, ast.Constant(method.attr), at=method)
        return node

    def visit_keyword(self, node: ast.keyword) -> SyntaxNode:
        """Private parameters of library functions cannot be given by name."""
        self.check_name(node.value, node.arg)
        return self._contents(node)

    # ---- plain Python, see the module's docstring --------------------------------------------------------------------

    def _contents(self, node: SyntaxNode) -> SyntaxNode:
        self.node_contents_visit(node)
        return node

    visit_Subscript = _contents
    visit_Assign = _contents
    visit_AnnAssign = _contents
    visit_For = _contents
    visit_With = _contents
    visit_Module = _contents

    def visit_AugAssign(self, node: ast.AugAssign) -> SyntaxNode:
        """`x.name += y` reads the attribute without its guard, so not under names that the guard looks at twice."""
        target = node.target
        if isinstance(target, ast.Attribute) and target.attr in CAREFUL_NAMES:
            self.refuse(node, refusals.careful_assignment(target.attr))
        return self._contents(node)

    def visit_comprehension(self, node: ast.comprehension) -> SyntaxNode:
        """Comprehensions, but not asynchronous ones."""
        if node.is_async:
            self.refuse(node.iter, refusals.node("AsyncFor"))
        return self._contents(node)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> SyntaxNode:
        """`global` and `nonlocal` bind names too."""
        for name in node.names:
            self.check_name(node, name)
        return node

    visit_Nonlocal = visit_Global

    # ---- definitions -------------------------------------------------------------------------------------------------

    def visit_arg(self, node: ast.arg) -> SyntaxNode:
        """Checks a parameter, whatever its kind."""
        self.check_name(node, node.arg)
        return self._contents(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> SyntaxNode:
        """Functions; the special methods of CLASS_METHODS only straight in a class."""
        self.check_name(node, node.name, allow_magic_methods=True)
        was_in_class, self._in_class_body = self._in_class_body, False
        self._contents(node)
        self._in_class_body = was_in_class
        return node

    def visit_Lambda(self, node: ast.Lambda) -> SyntaxNode:
        """Its parameters are checked by visit_arg."""
        return self._contents(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> SyntaxNode:
        """Classes with bases and keywords, but no metaclass of the flow's choice."""
        self.check_name(node, node.name)
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg == "metaclass":
                self.refuse(node, ("a class cannot choose its metaclass", "use a base class or a class decorator"))
        was_in_class, self._in_class_body = self._in_class_body, True
        self._contents(node)
        self._in_class_body = was_in_class
        return node

    # ---- statements --------------------------------------------------------------------------------------------------

    def visit_Try(self, node: ast.Try) -> SyntaxNode:
        """The end of a flow passes every handler: `except:` and `except BaseException` do not see it."""
        self._contents(node)
        if node.handlers:
            let_pass = ast.ExceptHandler(type=_name("_end_"), name=None, body=[ast.Raise(exc=None, cause=None)])
            ast.copy_location(let_pass, node.handlers[0])
            node.handlers.insert(0, ast.fix_missing_locations(let_pass))
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> SyntaxNode:
        """`except … as name` binds a name."""
        self.check_name(node, node.name)
        return self._contents(node)

    def visit_Import(self, node: ast.Import) -> SyntaxNode:
        """Imports of modules that flows do not have compile, with a warning: they may never run."""
        for alias in node.names:
            self._check_module(node, alias.name)
            self._check_alias(node, alias, bound=alias.name.partition(".")[0])
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> SyntaxNode:
        """`from x import y`."""
        if node.level or node.module is None:
            self.refuse(node, ("flows have no packages to import from", "call another flow with this.flow(name)"))
            return node
        self._check_module(node, node.module)
        for alias in node.names:
            if alias.name == "*":
                self.refuse(node, ("`import *` is not available", f"name what you need: from {node.module} import …"))
            else:
                self._check_alias(node, alias, bound=alias.name)
        return node

    def _check_module(self, node: SyntaxNode, name: str) -> None:
        if name == "__future__":
            return
        if is_lib(name) and not any(part.startswith("_") for part in name.split(".")):
            # Whether there is such a module is decided where all of them are known (pool/linking.py).
            if name == LIB and isinstance(node, ast.Import):
                self.refuse(node, refusals.BARE_LIB)
            elif name.count(".") > 1:
                self.refuse(node, refusals.lib_package(name))
            return
        if any(part.startswith("_") for part in name.split(".")):
            self.refuse(node, (f"the module `{name}` is private", "import the public module instead"))
        elif not is_importable(name):
            instead = refusals.module_instead(name)
            text = f"flows have no module `{name}`: this import will fail{f'; {instead}' if instead else ''}"
            self.warned.append((getattr(node, "lineno", 0), text))

    def _check_alias(self, node: SyntaxNode, alias: ast.alias, bound: str) -> None:
        self.check_name(node, alias.asname or bound)
        if alias.asname and alias.name.startswith("_"):
            self.refuse(node, refusals.private_attribute(alias.name))


def _is_plain_format(node: ast.Attribute) -> bool:
    """`"a {}".format`, of a template that stands in the source and has no field that reaches further."""
    template = node.value
    return node.attr == "format" and isinstance(template, ast.Constant) and is_plain_template(template.value)


def _name(name: str) -> ast.Name:
    return ast.Name(id=name, ctx=ast.Load())


def _guard(guard: str, value: ast.expr, *arguments: ast.expr, at: ast.expr | None = None) -> ast.Call:
    call = ast.Call(func=_name(guard), args=[value, *arguments], keywords=[])
    ast.copy_location(call, at or value)
    return ast.fix_missing_locations(call)
