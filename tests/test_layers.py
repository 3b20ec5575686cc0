"""STYLE's promises about the source itself: who imports whom, and that the core does no I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "whd"

# From the top: a module may import from its own layer and from those below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__", "cli"),
    ("commands",),
    ("daemon", "check", "explain"),
    ("fronts",),
    ("serving", "admin", "service", "commons", "app", "control", "systemd", "log", "state"),
    ("handlers",),
    ("executions.runner", "broker"),
    ("pool", "http", "executions", "settings", "sandbox", "rest", "saved", "locks"),
    ("auth", "routes", "query"),
    ("payload", "wire", "settings.model", "settings.options", "http.messages", "executions.record", "timestamps"),
    ("errors",),
)
# Data and core: values in, values out.
PURE = (
    "errors", "payload", "wire", "query", "routes", "auth.permissions", "auth.authentication", "settings.model",
    "settings.options", "settings.parse", "http.connection", "http.messages", "http.checks", "pool.scheduler",
    "pool.frames", "tables", "http.plain", "http.body", "http.writer", "auth.connections", "auth.urls",
    "auth.addresses", "rest.values", "rest.inputs", "rest.outputs", "executions.family", "broker.call", "locks",
    "explain", "sandbox.asks", "timestamps", "fronts.shares", "fronts.records", "fronts.leases",
)  # fmt: skip
WITH_EFFECTS = {"socket", "asyncio", "time", "subprocess", "threading", "sqlite3", "select"}


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(name: str, tree: ast.Module) -> set[str]:
    """What a module imports when it is loaded: own modules as `whd.x.y`, others by their top name."""
    package = name.split(".")
    is_package = (PACKAGE / Path(*package)).is_dir()
    found: set[str] = set()
    for node in _run_when_loaded(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                up = len(package) - node.level + is_package
                base = ".".join(["whd", *package[:up], *([node.module] if node.module else [])])
            else:
                base = node.module or ""
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def _run_when_loaded(tree: ast.Module) -> list[ast.stmt]:
    """Statements of the module's scope, without those under `if TYPE_CHECKING`."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not _is_for_types(tree, node)]


def _is_for_types(tree: ast.Module, wanted: ast.stmt) -> bool:
    for node in tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return wanted in ast.walk(node)
    return False


MODULES = modules()


def layer_of(name: str) -> int | None:
    """The layer of the longest prefix that is listed."""
    best: tuple[int, int] | None = None
    for index, layer in enumerate(LAYERS):
        for prefix in layer:
            matches = name == prefix or name.startswith(prefix + ".")
            if matches and (best is None or len(prefix) > best[0]):
                best = (len(prefix), index)
    return None if best is None else best[1]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_downwards(name: str) -> None:
    own = layer_of(name)
    if own is None:
        return
    for imported in imports(name, MODULES[name]):
        if imported.startswith("whd."):
            layer = layer_of(imported.removeprefix("whd."))
            assert layer is None or layer >= own, f"{name} imports {imported}, which stands above it"


@pytest.mark.parametrize("name", PURE)
def test_the_core_does_no_io(name: str) -> None:
    tops = {imported.partition(".")[0] for imported in imports(name, MODULES[name])}
    assert not tops & WITH_EFFECTS


@pytest.mark.parametrize("name", [name for name in sorted(MODULES) if name.startswith("sandbox")])
def test_the_far_side_imports_only_what_it_needs(name: str) -> None:
    allowed = ("whd.sandbox", "whd.wire", "whd.errors", "whd.payload", "whd.timestamps")
    for imported in imports(name, MODULES[name]):
        assert not imported.startswith("whd.") or imported.startswith(allowed), imported


def test_only_the_far_side_imports_restrictedpython_and_only_launch_and_the_wall_are_used_from_outside() -> None:
    for name, tree in MODULES.items():
        if name.startswith("sandbox"):
            continue
        for imported in imports(name, tree):
            assert not imported.startswith("RestrictedPython"), name
            if imported.startswith("whd.sandbox"):
                assert imported.startswith(("whd.sandbox.launch", "whd.sandbox.isolation")), f"{name}: {imported}"


def test_the_daemon_never_unpickles_or_compiles() -> None:
    for name, tree in MODULES.items():
        if name.startswith("sandbox"):
            continue
        assert not {imported.partition(".")[0] for imported in imports(name, tree)} & {"pickle", "marshal", "shelve"}
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec", "compile"}, name
