"""Which helper modules a source imports: `from lib import name`, `import lib.name`, `from lib.name import f`. Pure.

It sees all of them, wherever they stand, for flows cannot import by a name that they compute. So it is known before a
flow runs what it needs. Runs in a walled process, like all that reads a source.
"""

from __future__ import annotations

import ast

from ..wire.frames import MAX_LIB_IMPORTS, LibImport

LIB = "lib"
_CATCHES_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def is_lib(name: str) -> bool:
    """Whether a module of that name is one of the client's own."""
    return name == LIB or name.startswith("lib.")


def find_lib_imports(tree: ast.Module) -> tuple[LibImport, ...]:
    """The modules that are imported, each once, at its first line; an import that must succeed stands for all."""
    found: dict[str, LibImport] = {}
    for one in sorted(_imports_below(tree, is_optional=False)):
        known = found.get(one.module)
        if known is None or (known.is_optional and not one.is_optional):
            found[one.module] = one
    return tuple(sorted(found.values()))[:MAX_LIB_IMPORTS]


def _imports_below(node: ast.AST, *, is_optional: bool) -> list[LibImport]:
    if isinstance(node, ast.Import):
        names = [alias.name.partition(".")[2] for alias in node.names if is_lib(alias.name)]
        return [LibImport(node.lineno, name, is_optional) for name in names if name]
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level or not is_lib(module):
            return []
        names = [alias.name for alias in node.names] if module == LIB else [module.partition(".")[2]]
        return [LibImport(node.lineno, name, is_optional) for name in names if name != "*"]
    found: list[LibImport] = []
    guarded = node.body if isinstance(node, ast.Try) and _catches_import_errors(node) else []
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        is_optional = False  # it runs later
    for child in ast.iter_child_nodes(node):
        found += _imports_below(child, is_optional=is_optional or any(child is one for one in guarded))
    return found


def _catches_import_errors(node: ast.Try) -> bool:
    for handler in node.handlers:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(kind is None or (isinstance(kind, ast.Name) and kind.id in _CATCHES_IMPORT_ERRORS) for kind in kinds):
            return True
    return False
