"""Everything public has a docstring that says something; where a base class documents a method, that is enough."""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "whd"

# Rooms, or modules of a room, that are still to be gone through; it only ever shrinks.
LATER: set[str] = set()

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# A docstring that only points elsewhere: "As X.", "See Y.", "Of Z.", "The same.", "The same for a file."
POINTER = re.compile(r"(As|See|Of|Like) [^.;:,]*\.?|The same( \w+){0,3}\.?")
# What has to be read twice.
FORBIDDEN = re.compile(r"\b(whoever|never never|told)\b", re.IGNORECASE)


def module_name(path: Path) -> str:
    """`sandbox.worker`; "" for whd itself."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def is_later(name: str) -> bool:
    return name in LATER or name.partition(".")[0] in LATER


PATHS = {name: path for path in sorted(PACKAGE.rglob("*.py")) if not is_later(name := module_name(path))}
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in PATHS.items()}


def definitions(tree: ast.Module) -> Iterator[tuple[tuple[str, ...], Definition]]:
    """Classes, functions and methods with their path; not what stands within functions."""
    waiting: list[tuple[tuple[str, ...], ast.AST]] = [((), tree)]
    while waiting:
        path, holder = waiting.pop()
        for node in ast.iter_child_nodes(holder):
            if isinstance(node, Definition):
                yield (*path, node.name), node
            if isinstance(node, ast.ClassDef):
                waiting.append(((*path, node.name), node))
            elif isinstance(node, ast.If | ast.Try):
                waiting.append((path, node))


# Classes that follow a protocol without descending from it: what is a property there is an attribute here, or the
# protocol stands on a floor above. test_a_class_that_follows_a_protocol_has_all_of_it holds that they do.
FOLLOWS = {
    "daemon.daemon.SingleProcess": "daemon.daemon.Serving",
    "fronts.hub.Hub": "daemon.daemon.Serving",
    "fronts.quota.FrontQuota": "pool.quota.PoolQuota",
}


def class_named(name: str) -> type:
    module, _, own = name.rpartition(".")
    found: type = getattr(importlib.import_module(f"whd.{module}"), own)
    return found


def followed(name: str) -> list[type]:
    """The protocols that a class follows by FOLLOWS."""
    return [class_named(each) for each in FOLLOWS.get(name, "").split()]


def is_documented_above(module: str, path: tuple[str, ...]) -> bool:
    """Whether a class above the method's own, of whd or of a library, has the method with a docstring."""
    found: object = importlib.import_module(f"whd.{module}")
    for name in path[:-1]:
        found = vars(found)[name]
    assert isinstance(found, type)
    above = [*found.__mro__[1:]]
    for protocol in followed(".".join((module, *path[:-1]))):
        above += protocol.__mro__
    # Only where the class has it: on 3.13 the None that stands for a missing method has a docstring of its own.
    return any(path[-1] in vars(base) and getattr(vars(base)[path[-1]], "__doc__", None) for base in above)


def undocumented(module: str, source: str) -> list[str]:
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else [module]
    for path, node in definitions(tree):
        is_public = not any(part.startswith("_") for part in path)
        is_setter = any(isinstance(one, ast.Attribute) and one.attr == "setter" for one in node.decorator_list)
        if not is_public or is_setter or ast.get_docstring(node):
            continue
        if len(path) == 1 or isinstance(node, ast.ClassDef) or not is_documented_above(module, path):
            found.append(".".join((module, *path)))
    return found


def docstrings(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    for node in (tree, *(node for node in ast.walk(tree) if isinstance(node, Definition))):
        text = ast.get_docstring(node)
        if text:
            yield text


def comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@pytest.mark.parametrize("name", PATHS)
def test_what_is_public_has_a_docstring(name: str) -> None:
    assert undocumented(name, SOURCES[name]) == []


@pytest.mark.parametrize("name", PATHS)
def test_no_docstring_only_points_elsewhere(name: str) -> None:
    assert [text for text in docstrings(SOURCES[name]) if POINTER.fullmatch(text)] == []


@pytest.mark.parametrize("name", PATHS)
def test_no_sentence_has_to_be_read_twice(name: str) -> None:
    texts = [*docstrings(SOURCES[name]), *comments(SOURCES[name])]
    assert [text for text in texts if FORBIDDEN.search(text)] == []


@pytest.mark.parametrize("name", FOLLOWS)
def test_a_class_that_follows_a_protocol_has_all_of_it(name: str) -> None:
    module, _, own = name.rpartition(".")
    for protocol in followed(name):
        methods = {
            member
            for base in protocol.__mro__
            if base.__module__.startswith("whd.")
            for member, value in vars(base).items()
            if callable(value) and not member.startswith("_")
        }
        assert methods, name
        assert methods <= set(dir(class_named(name))), (
            f"{own} of {module} lacks {methods - set(dir(class_named(name)))}"
        )


def descendants() -> Iterator[type]:
    """Classes of whd that descend from one of its protocols."""
    for module in PATHS:
        for found in vars(importlib.import_module(f"whd.{module}" if module else "whd")).values():
            is_own = isinstance(found, type) and found.__module__ == f"whd.{module}"
            if is_own and not getattr(found, "_is_protocol", False) and any(protocols_above(found)):
                yield found


def protocols_above(kind: type) -> list[type]:
    return [
        base for base in kind.__mro__ if base.__module__.startswith("whd.") and getattr(base, "_is_protocol", False)
    ]


@pytest.mark.parametrize("kind", list(descendants()), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_class_that_descends_from_a_protocol_leaves_none_of_it_to_the_protocol(kind: type) -> None:
    """Else the protocol's own empty method would answer, with None, and nobody would hear of it."""
    for protocol in protocols_above(kind):
        for member, value in vars(protocol).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                owner = next(base for base in kind.__mro__ if member in vars(base))
                assert not getattr(owner, "_is_protocol", False), f"{member} is {owner.__name__}'s"


class TestTheRule:
    """The rule itself, on sources that break it."""

    def test_missing_docstrings_are_found(self) -> None:
        source = "class A:\n    def b(self): ...\n    def _c(self): ...\n    class D: ...\ndef e():\n    def f(): ...\n"
        source = source.replace("class A", "class NotWatching")
        assert undocumented("settings.watch", source) == [
            "settings.watch",
            "settings.watch.NotWatching",
            "settings.watch.e",
            "settings.watch.NotWatching.b",
            "settings.watch.NotWatching.D",
        ]

    def test_an_override_of_a_documented_method_needs_none(self) -> None:
        source = '"""M."""\nclass NotWatching:\n    """C."""\n    def forget(self): ...\n    def other(self): ...\n'
        assert undocumented("settings.watch", source) == ["settings.watch.NotWatching.other"]

    @pytest.mark.parametrize("text", ["As Body.", "See Locks.", "The same.", "The same for a file.", "Of a webhook."])
    def test_pointers_are_found(self, text: str) -> None:
        assert POINTER.fullmatch(text)

    @pytest.mark.parametrize("text", ["As text: a float would lose digits.", "Asks the daemon.", "Seen by all."])
    def test_what_says_something_is_no_pointer(self, text: str) -> None:
        assert not POINTER.fullmatch(text)
