"""Each field of what a job goes through is written by one module: read off the syntax trees of whd/.

A field belongs to the module that defines its class, or to the one other module that OWNERSHIPS names for it. A write
is an assignment to `x.field`, a `del` of it, an assignment to one of its items, or a call of a method that changes what
is in it. `x` is an instance of the class if it is `self` within the class, or has one of the class's names; a field
that no other class of whd has is looked for whatever `x` is. What `__init__` of the class sets is its first value, no
write.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "whd"


class Ownership(NamedTuple):
    """Of one class. `names`: of variables and attributes that hold one. `elsewhere`: field → another owner."""

    module: str
    name: str
    names: frozenset[str]
    elsewhere: dict[str, str]


def elsewhere(**fields: str) -> dict[str, str]:
    """By module, with `_` for the dot: field → module."""
    return {
        field: module.replace("_", ".", 1) for module, listed in fields.items() for field in listed.split()
    }  # fmt: skip


OWNERSHIPS = (
    Ownership(
        "pool.job",
        "Job",
        frozenset({"job", "more", "other", "following", "waiting"}),
        elsewhere(pool_line="line code revokes_before", pool_frames_out="frame_bytes"),
    ),
    Ownership(
        "pool.worker",
        "Worker",
        frozenset({"worker", "process"}),
        elsewhere(
            pool_processes="state binding jobs_done idle_since idle_cpu_s exit_status",
            pool_line="line",
        ),
    ),
    Ownership("pool.line", "Line", frozenset({"line"}), elsewhere(pool_frames_out="codes contexts")),
    Ownership(
        "pool.compiler",
        "Code",
        frozenset({"code"}),
        elsewhere(pool_prefetch="short_runs took_us", pool_frames_out="contexts"),
    ),
    Ownership("wire.frames", "FrameReader", frozenset({"reader", "_reader"}), elsewhere(pool_worker="limit_bytes")),
    Ownership(
        "executions.active",
        "ActiveExecution",
        frozenset({"active", "child", "parent"}),
        elsewhere(
            executions_runner="job response saved_status counted_bytes cancel_task stop_waiting epoch",
        ),
    ),
)

CHANGING = {
    "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem", "popleft",
    "remove", "reverse", "rotate", "setdefault", "sort", "update",
}  # fmt: skip


class Write(NamedTuple):
    """`holder`: what is written to, by its last name. `within`: the class and the function that it stands in."""

    module: str
    within: tuple[str, str]
    holder: str
    field: str
    line: int


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def fields_of(definition: ast.ClassDef) -> set[str]:
    """A class's slots, annotated fields, and what its methods assign to self."""
    found = set()
    for node in ast.walk(definition):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__slots__":
            found.update(ast.literal_eval(node.value))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node in definition.body:
            found.add(node.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _last_name(node.value) == "self":
            found.add(node.attr)
    return found


def _classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _last_name(node: ast.expr) -> str:
    """`job` of `job`, `call.job`, `self._jobs.job`."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def writes(module: str, tree: ast.Module) -> Iterator[Write]:
    """All writes to attributes in a module."""
    waiting: list[tuple[ast.AST, tuple[str, str]]] = [(tree, ("", ""))]
    while waiting:
        node, within = waiting.pop()
        if isinstance(node, ast.ClassDef):
            within = (node.name, "")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not within[1]:
            within = (within[0], node.name)
        written = _written(node)
        if written is not None:
            yield Write(module, within, _last_name(written.value), written.attr, written.lineno)
        waiting.extend((child, within) for child in ast.iter_child_nodes(node))


def _written(node: ast.AST) -> ast.Attribute | None:
    """The attribute that a node changes, if it does."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
        return node
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        changed: ast.expr = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
        changed = node.func.value
    else:
        return None
    return changed if isinstance(changed, ast.Attribute) else None


WRITES = [write for module, tree in MODULES.items() for write in writes(module, tree)]
CLASSES_WITH: dict[str, set[str]] = defaultdict(set)
for _module, _tree in MODULES.items():
    for _definition in _classes(_tree):
        for _field in fields_of(_definition):
            CLASSES_WITH[_field].add(f"{_module}.{_definition.name}")


def fields(ownership: Ownership) -> set[str]:
    (definition,) = (node for node in _classes(MODULES[ownership.module]) if node.name == ownership.name)
    return fields_of(definition)


def writers(ownership: Ownership, found: list[Write]) -> dict[str, dict[str, list[int]]]:
    """Of each field that is written: the modules, and the lines in them."""
    own_fields = fields(ownership)
    result: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for write in found:
        if write.field not in own_fields:
            continue
        if write.holder == "self":
            if write.module != ownership.module or write.within[0] != ownership.name or write.within[1] == "__init__":
                continue
        elif write.holder not in ownership.names and len(CLASSES_WITH[write.field]) > 1:
            continue
        result[write.field][write.module].append(write.line)
    return result


@pytest.mark.parametrize("ownership", OWNERSHIPS, ids=lambda ownership: ownership.name)
def test_each_field_is_written_by_its_owner_alone(ownership: Ownership) -> None:
    strangers = {
        field: {module: lines for module, lines in by_module.items() if module != owner}
        for field, by_module in writers(ownership, WRITES).items()
        if (owner := ownership.elsewhere.get(field, ownership.module)) and set(by_module) != {owner}
    }
    assert strangers == {}


@pytest.mark.parametrize("ownership", OWNERSHIPS, ids=lambda ownership: ownership.name)
def test_what_the_table_names_is_there(ownership: Ownership) -> None:
    found = writers(ownership, WRITES)
    assert set(ownership.elsewhere) <= fields(ownership)
    assert {field: module for field, module in ownership.elsewhere.items() if module not in found[field]} == {}


JOB, WORKER = OWNERSHIPS[0], OWNERSHIPS[1]


@pytest.mark.parametrize(
    ("ownership", "text", "field"),
    [
        (JOB, "def f(job): job.calls += 1", "calls"),
        (JOB, "def f(call): call.job.refusals = 1", "refusals"),
        (JOB, "def f(job, now): job.deadline, x = now, 1", "deadline"),
        (JOB, "def f(job): del job.line", "line"),
        (JOB, "class Job:\n    def f(self, other): other.state = 1", "state"),
        (JOB, "def f(anything): anything.open_call = -1", "open_call"),  # no other class has one
        (WORKER, "def f(worker):\n    for worker.number in (1, 2): pass", "number"),
        (WORKER, "def f(worker): worker.state = 1", "state"),
        (WORKER, "def f(line): line.worker._held.append(b'')", "_held"),
        (WORKER, "def f(line): line.worker._held[0] = b''", "_held"),
    ],
)
def test_a_write_of_another_module_is_seen(ownership: Ownership, text: str, field: str) -> None:
    found = list(writes("somewhere.else", ast.parse(text)))
    assert set(writers(ownership, found)) == {field}


@pytest.mark.parametrize(
    "text",
    [
        "def f(job): return job.calls",
        "def f(thread): thread.state = 1",  # another class's
        "class Worker:\n    def f(self): self.number = 1",  # the far side's
        "def f(job): job.listener.append(1).calls(2)",
    ],
)
def test_what_is_no_write_to_a_job_is_none(text: str) -> None:
    assert "calls" not in writers(JOB, list(writes("somewhere.else", ast.parse(text))))
    assert not {"state", "number"} & set(writers(JOB, list(writes("somewhere.else", ast.parse(text)))))
