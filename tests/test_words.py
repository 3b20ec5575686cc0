"""One name for one thing, and no name for two: the names of types, and the words that whd no longer uses."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "whd"

# Types whose name stands on both sides of the sandbox's wall, for the two ends or two views of one thing.
ON_BOTH_SIDES = {
    "Child": "what a parent knows of a child, and what its flow sees of it",
    "Client": "a record, and what a flow sees of it",
    "Execution": "a record, and what a flow sees of it",
    "Flow": "a record, and what a flow sees of it",
    "Headers": "a message's headers, and what a flow sees of them",
    "PermissionDenied": "a refusal, and the error of flow_api that it becomes",
    "ReturnWhen": "when a wait is over, and system.return_when",
    "RunContext": "the daemon's and the worker's end of the frame `context`",
    "Setting": "a record, and what a flow sees of it",
    "Status": "where an execution stands, and system.status",
    "User": "a record, and what a flow sees of it",
    "Worker": "the daemon's handle on a process, and the process",
    "Zygote": "the daemon's handle on a process, and the process",
}

# Old words, as any part of a name, and what the thing is called now.
OLD_WORDS = {
    "asks": "declared use",
    "commons": "shared",
    "customer": "job listener",
    "desk": "front session, supervisor",
    "digester": "payload parser",
    "handing": "prefetch",
    "lives": "active executions",
    "office": "front session, supervisor",
    "place": "slot; entry, of settings/tree",
    "places": "slots",
    "rehearsal": "canary",
    "survey": "doctor",
    "trial": "probe",
    "untake": "from_row",
}
# Old names; as parts of others the words may mean something else.
OLD_NAMES = {
    "Elsewhere": "remote executions",
    "Fixed": "sealed",
    "Live": "active execution",
    "elsewhere": "remote executions",
    "fixed": "sealed",
    "shares": "partition",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(sources())


def types_of(tree: ast.Module) -> Iterator[str]:
    """The module's public classes, and its aliases of types: names like TypeVars and `Done = Callable[…]`."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (one.id for one in targets if isinstance(one, ast.Name) and re.match("[A-Z][a-z]", one.id))


def homes_of_types(modules: dict[str, ast.Module]) -> dict[str, list[str]]:
    homes = defaultdict(list)
    for name, tree in modules.items():
        for kind in types_of(tree):
            if not kind.startswith("_"):
                homes[kind].append(name)
    return homes


def identifiers(name: str, tree: ast.Module) -> set[str]:
    found = set(name.split("."))
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                found.add(node.name)
            case ast.Name():
                found.add(node.id)
            case ast.Attribute():
                found.add(node.attr)
            case ast.arg() | ast.keyword():
                found.add(node.arg or "")
            case ast.alias():
                found.update((node.asname or node.name).split("."))
    return found


def old_words(names: set[str]) -> set[str]:
    """Those of the names that are old, or have an old word in them."""
    found = {name for name in names if name in OLD_NAMES}
    for name in names:
        parts = {part.lower() for part in re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        if parts & OLD_WORDS.keys():
            found.add(name)
    return found


HOMES = homes_of_types(MODULES)


def test_no_two_types_have_one_name() -> None:
    twice = {kind: homes for kind, homes in HOMES.items() if len(homes) > 1}
    assert {kind: homes for kind, homes in twice.items() if kind not in ON_BOTH_SIDES} == {}


@pytest.mark.parametrize("kind", sorted(ON_BOTH_SIDES))
def test_a_name_on_both_sides_stands_once_on_each(kind: str) -> None:
    assert sorted(home.startswith("sandbox.") for home in HOMES[kind]) == [False, True], HOMES[kind]


@pytest.mark.parametrize("name", list(MODULES))
def test_no_old_word_is_used(name: str) -> None:
    assert old_words(identifiers(name, MODULES[name])) == set()


class TestTheRule:
    """The rule itself, on sources that break it."""

    def test_a_second_type_is_found(self) -> None:
        first, second = ast.parse("class Done: ...\nclass _Own: ..."), ast.parse("Done = int\n_Own = int\nMAX = 1")
        assert homes_of_types({"a": first, "b.c": second}) == {"Done": ["a", "b.c"]}

    @pytest.mark.parametrize(
        "source", ["class FrontDesk: ...", "free_places = 1", "def f(customer): ...", "a.untake", "f(asks=1)", "Live()"]
    )
    def test_old_words_are_found(self, source: str) -> None:
        assert old_words(identifiers("a", ast.parse(source)))

    def test_words_within_words_are_not(self) -> None:
        tree = ast.parse("tasks = Replaced(is_live=delivers, fixed_options=1)")
        assert not old_words(identifiers("a", tree))
