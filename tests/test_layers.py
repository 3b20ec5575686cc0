"""The plan of the house (docs/architecture.md): who imports whom, and that the core does no I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "whd"

# From the top. A module imports from its own room (a folder, or a module at the root) and from rooms on floors below,
# never from one above or beside it.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("daemon",),
    ("fronts",),
    ("admin",),
    ("engine",),
    ("broker",),
    ("handlers",),
    ("saved",),
    ("executions",),
    ("rest",),
    ("settings",),
    ("auth",),
    ("senders",),
    ("http", "pool", "store"),
    ("model", "sandbox"),
    ("wire", "sqlite"),
    ("errors", "futures", "log", "ownership", "valueclass"),
    ("terminal",),
)
MOST_AT_THE_ROOT = 8
# Data and core: values in, values out.
PURE = (
    "admin.documents",
    "auth.addresses", "auth.callers", "auth.combined", "auth.connections", "auth.permissions",
    "auth.urls", "broker.call",
    "broker.locks", "commands.explain", "commands.tables", "errors", "executions.family",
    "executions.queue", "fronts.leases",
    "engine.report", "engine.status",
    "fronts.partition", "fronts.records", "handlers.answers", "handlers.counts",
    "handlers.query", "handlers.routes", "http.body", "http.checks",
    "http.connection", "http.messages", "http.plain", "http.writer",
    "model.budget", "model.call_rules", "model.caller_check", "model.delivery",
    "model.hiding",
    "model.options",
    "model.snapshot", "pool.frames_in", "pool.job", "pool.line", "pool.scheduler", "rest.inputs", "rest.outputs",
    "rest.values",
    "sandbox.declared_use",
    "senders.check", "senders.credentials", "senders.encodings", "senders.jwt", "senders.locators", "senders.msgraph",
    "senders.presets", "senders.rows", "senders.samples", "senders.scheme", "senders.signer",
    "senders.template", "senders.values", "senders.verifier",
    "settings.dedup", "settings.document", "settings.fields",
    "settings.only", "settings.parse", "settings.verify", "settings.webhooks",
    "store.encoding",
    "store.interface", "store.rows", "terminal", "valueclass",
    "wire.charsets", "wire.frames", "wire.payload", "wire.pointer", "wire.response_headers", "wire.strict_json",
    "wire.timestamps",
)  # fmt: skip
WITH_EFFECTS = {"socket", "asyncio", "time", "subprocess", "threading", "sqlite3", "select"}


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        if name:
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(name: str, tree: ast.Module, *, for_types: bool = False) -> set[str]:
    """What a module imports: own modules as `whd.x.y` (with what is taken from them), others by their name.

    `for_types`: also what is imported for the type checker alone.
    """
    package = name.split(".")
    is_package = (PACKAGE / Path(*package)).is_dir()
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom) or (not for_types and _is_for_types(tree, node)):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif node.level:
            up = len(package) - node.level + is_package
            base = ".".join(["whd", *package[:up], *([node.module] if node.module else [])])
            found.update(f"{base}.{alias.name}" for alias in node.names)
        else:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _is_for_types(tree: ast.Module, wanted: ast.stmt) -> bool:
    for node in tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return wanted in ast.walk(node)
    return False


MODULES = modules()
ROOMS = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def room_of(name: str) -> str:
    """The folder of a module, or the module itself at the root; `name` without `whd.`."""
    return name.partition(".")[0]


def test_every_room_has_its_floor_and_every_floor_its_rooms() -> None:
    assert {room_of(name) for name in MODULES} == set(ROOMS)


def test_few_modules_stand_at_the_root() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= MOST_AT_THE_ROOT


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_downwards(name: str) -> None:
    own = room_of(name)
    for imported in imports(name, MODULES[name], for_types=True):
        other = room_of(imported.removeprefix("whd."))
        if not imported.startswith("whd.") or other == own or other == "__version__":
            continue
        assert other in ROOMS, f"{name} imports {imported}, which is in no room"
        assert ROOMS[other] > ROOMS[own], f"{name} imports {imported}, which does not stand below it"


@pytest.mark.parametrize("name", PURE)
def test_the_core_does_no_io(name: str) -> None:
    tops = {imported.partition(".")[0] for imported in imports(name, MODULES[name])}
    assert not tops & WITH_EFFECTS


@pytest.mark.parametrize("name", [name for name in sorted(MODULES) if name.startswith("sandbox")])
def test_the_far_side_imports_only_what_it_needs(name: str) -> None:
    for imported in imports(name, MODULES[name], for_types=True):
        assert not imported.startswith("whd.") or imported.startswith(("whd.sandbox", "whd.wire", "whd.errors"))


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


def test_only_the_store_knows_what_keeps_the_records() -> None:
    """Others have its interface and its neutral rows; `open_store` and `open_reader` give them what fits."""
    its_modules = {name.removeprefix("store.") for name in MODULES if name.startswith("store.")}
    for name, tree in MODULES.items():
        for imported in imports(name, tree, for_types=True):
            if room_of(name) == "store" or not imported.startswith("whd.store"):
                continue
            own, _, what = imported.removeprefix("whd.store.").rpartition(".")
            assert own in ("interface", "rows") or (not own and what not in its_modules), (name, imported)
