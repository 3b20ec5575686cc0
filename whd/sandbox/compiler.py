"""From the source of a flow or helper module to code: parse, apply the policy, compile. Pure; runs only walled in.

Everything that goes wrong is a Refused with file, line, what, and the way to do it instead.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from types import CodeType

from ..wire.frames import DeclaredUse, LibImport
from .declared_use import find_declared_uses
from .deferred_starts import find_deferred_starts
from .foreseen import find_foreseen
from .lib_imports import find_lib_imports
from .modules import fast_names
from .policy import Policy

MAX_REFUSALS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Compiled:
    """The code, what `whd check` should warn of as (line, text), what the source plainly uses (declared_use.py), and
    the helper modules that it imports.
    """

    code: CodeType
    warnings: tuple[tuple[int, str], ...]
    declared_uses: tuple[DeclaredUse, ...]
    imports: tuple[LibImport, ...]


class Refused(Exception):
    """The source is not a flow; the text is for its author, a line for each fault."""


def compile_flow(source: str, path: str, *, is_module: bool = False) -> Compiled:
    """Compiles a flow or helper module. `path` is the file name that tracebacks show. Raises Refused."""
    try:
        with warnings.catch_warnings():
            # Python warns of odd literals ("is" with a number, "\\d"): no reason to refuse, and nothing for our stderr.
            warnings.simplefilter("ignore")
            return _compile(source, path, is_module=is_module)
    except SyntaxError as error:
        statement = f": {error.text.strip()}" if error.text and error.text.strip() else ""
        raise Refused(f"{path}:{error.lineno or 1}: {type(error).__name__}: {error.msg}{statement}") from None
    except ValueError as error:
        raise Refused(f"{path}:1: the source cannot be read: {error}; save it as UTF-8 text") from None
    except (RecursionError, MemoryError):
        raise Refused(
            f"{path}:1: the source is nested too deep or too large; split it into smaller expressions"
        ) from None


def _compile(source: str, path: str, *, is_module: bool) -> Compiled:
    tree = ast.parse(source, path)
    bound = frozenset(_bound_names(tree))
    # All before the policy changes the tree.
    declared_uses, imports = find_declared_uses(tree), find_lib_imports(tree)
    foreseen = find_foreseen(tree, source, path)
    policy = Policy(fast_names(), bound, find_deferred_starts(tree))
    policy.visit(tree)
    handler_fault = None if is_module else _handler_fault(tree)
    if handler_fault:
        policy.refused.append(handler_fault)
    if policy.refused:
        faults = sorted(set(policy.refused))
        lines = [f"{path}:{line}: {what}; instead: {instead}" for line, what, instead in faults[:MAX_REFUSALS_SHOWN]]
        if len(faults) > MAX_REFUSALS_SHOWN:
            lines.append(f"and {len(faults) - MAX_REFUSALS_SHOWN} more")
        raise Refused("\n".join(lines))
    code = compile(tree, path, "exec", dont_inherit=True)
    return Compiled(code, tuple(sorted([*policy.warned, *foreseen])), declared_uses, imports)


def _bound_names(tree: ast.Module) -> set[str]:
    """Every name that is bound anywhere in the module, in whatever scope."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names


def _handler_fault(tree: ast.Module) -> tuple[int, str, str] | None:
    """What is wrong with the flow's handler as far as the source tells."""
    instead = "write `def handler(system, this):`"
    found = False
    for node in _module_scope(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "handler":
            found = True
            if not node.decorator_list and not _takes_two_or_three(node.args):
                return node.lineno, "handler must take (system, this) or (system, this, inputs)", instead
            if _is_generator(node):
                return node.lineno, "handler contains `yield`, so calling it would run nothing", "collect in a list"
        elif isinstance(node, ast.Name) and node.id == "handler" and not isinstance(node.ctx, ast.Load):
            found = True
        elif isinstance(node, (ast.alias, ast.ClassDef)):
            name = node.name if isinstance(node, ast.ClassDef) else node.asname or node.name
            found = found or name == "handler"
    return None if found else (1, "the flow has no function `handler`", instead)


def _takes_two_or_three(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    required = positional - len(arguments.defaults)
    missing_keywords = any(default is None for default in arguments.kw_defaults)
    return not missing_keywords and required <= 3 and (positional >= 2 or arguments.vararg is not None)


def _module_scope(tree: ast.AST) -> list[ast.AST]:
    """The nodes that run in the module's own scope: not those within functions and classes."""
    nodes: list[ast.AST] = []
    waiting = list(ast.iter_child_nodes(tree))
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        if not isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            waiting.extend(ast.iter_child_nodes(node))
    return nodes


def _is_generator(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in _module_scope(function))
