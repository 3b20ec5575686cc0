"""The folder flows/<client>/lib as the settings see it: which files are modules, and which flows may import them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.settings.test_index import load, texts
from tests.settings.test_reload import on_loop
from tests.settings.trees import Tree, watching
from whd.model.library import NO_LIBRARY, make_library
from whd.model.snapshot import Fault, Flow, Snapshot, Source
from whd.settings.index import Index

IMPORTING = "from lib import mail\ndef handler(system, this): pass\n"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def modules(snapshot: Snapshot) -> dict[str, str]:
    return {name: module.source for name, module in snapshot.clients["acme"].library.modules.items()}


def test_files_of_the_folder_are_modules_and_no_flows(tree: Tree) -> None:
    tree.write("flows/acme/lib/mail.py", "x = 1")
    tree.write("flows/acme/lib/Mail.py", "x = 2")
    tree.write("flows/acme/lib/größe.py", "x = 3")
    tree.write("flows/acme/lib/README.md", "text")
    tree.write("flows/acme/lib/.mail.py.swp", "x")
    tree.write("flows/acme/lib.py", "def handler(system, this): pass")
    (tree.path("flows/acme/lib") / "__pycache__").mkdir()
    snapshot = load(tree)
    assert modules(snapshot) == {"mail": "x = 1", "Mail": "x = 2", "größe": "x = 3"}
    assert set(snapshot.clients["acme"].flows) == {"signup", "lib"}
    assert snapshot.faults == ()


def test_what_is_no_module_is_named(tree: Tree) -> None:
    for name in ("two words", "2nd", "class", "_private", "__init__", "a-b", "a.b", "\ufb01x"):
        tree.write(f"flows/acme/lib/{name}.py", "x = 1")
    tree.write("flows/acme/lib/package/inner.py", "x = 1")
    snapshot = load(tree)
    assert modules(snapshot) == {}
    assert all(fault.is_warning for fault in snapshot.faults)
    named = texts(snapshot, tree.config)
    assert len(named) == 9
    what = "this folder is not read: a client's helper modules are files, without packages"
    assert f"flows/acme/lib/package: warning: {what}; expected its modules in flows/acme/lib/ itself" in named
    assert "flows/acme/lib/__init__.py: warning: nothing reads this file: lib is no package" in "\n".join(named)
    assert "flows/acme/lib/class.py: warning: no flow can import a file of this name" in "\n".join(named)


def test_a_file_that_cannot_be_decoded_is_there_but_unusable(tree: Tree) -> None:
    tree.write("flows/acme/lib/mail.py", b"x = '\xff'")
    tree.write("flows/acme/uses.py", IMPORTING)
    snapshot = load(tree)
    (fault,) = texts(snapshot, tree.config)
    assert fault.startswith("flows/acme/lib/mail.py:1: ")
    assert "expected UTF-8" in fault
    assert snapshot.clients["acme"].library.unusable == {"mail"}


def test_flows_that_may_import_have_the_modules_and_another_version_with_each_change(tree: Tree) -> None:
    tree.write("flows/acme/lib/mail.py", "x = 1")
    tree.write("flows/acme/uses.py", IMPORTING)
    first = load(tree).clients["acme"]
    assert first.flows["uses"].library is first.library
    assert first.flows["signup"].library is None
    assert first.flows["signup"].version == first.flows["signup"].script_hash
    tree.write("flows/acme/lib/mail.py", "x = 2")
    second = load(tree).clients["acme"]
    assert second.flows["uses"].version != first.flows["uses"].version
    assert second.flows["uses"].script_hash == first.flows["uses"].script_hash
    assert second.flows["signup"].version == first.flows["signup"].version


def test_libraries_are_told_apart_by_names_texts_and_what_is_unusable(tree: Tree) -> None:
    tree.write("flows/acme/lib/mail.py", "x = 1")
    module = load(tree).clients["acme"].library.modules["mail"]
    hashes = {
        NO_LIBRARY.hash,
        make_library({"mail": module}).hash,
        make_library({"post": module}).hash,
        make_library({"mail": module}, {"text"}).hash,
        make_library({}, {"mail"}).hash,
    }
    assert len(hashes) == 5


def test_a_fault_of_an_import_lasts_until_the_modules_or_the_file_change(tree: Tree) -> None:
    tree.write("flows/acme/uses.py", IMPORTING)
    index = Index(str(tree.config), str(tree.flows))
    flow = index.load().clients["acme"].flows["uses"]
    assert flow.library is not None
    fault = Fault(flow.path, 1, "", "there is no module lib.mail")
    assert index.import_fault(flow, flow.library, fault)
    assert not index.import_fault(flow, flow.library, fault)
    assert index.snapshot().faults == (fault,)
    tree.write("flows/acme/lib/mail.py", "x = 1")
    assert index.load().faults == ()
    assert index.import_fault(flow, flow.library, fault)
    assert index.snapshot().faults == (), "it was found with other modules"


@pytest.mark.parametrize("polls", [False, True])
def test_changes_of_the_folder_are_seen(tree: Tree, polls: bool) -> None:
    @on_loop
    async def test() -> None:
        async with watching(tree, polls=polls) as watched:
            tree.write("flows/acme/lib/mail.py", "x = 1")
            await watched.until(lambda snapshot: modules(snapshot) == {"mail": "x = 1"})
            tree.write("flows/acme/lib/mail.py", "x = 2")
            await watched.until(lambda snapshot: modules(snapshot) == {"mail": "x = 2"})
            tree.path("flows/acme/lib/mail.py").rename(tree.path("flows/acme/lib/post.py"))
            await watched.until(lambda snapshot: modules(snapshot) == {"post": "x = 2"})
            shutil.rmtree(tree.path("flows/acme/lib"))
            await watched.until(lambda snapshot: modules(snapshot) == {})
            tree.write("elsewhere/mail.py", "x = 3")
            tree.path("flows/acme/lib").symlink_to(tree.path("elsewhere"))
            await watched.until(lambda snapshot: modules(snapshot) == {"mail": "x = 3"})

    test()


@on_loop
async def test_a_changed_module_goes_in_when_it_compiles(tree: Tree) -> None:
    async def vet(sources: Sequence[Source]) -> Sequence[Fault | None]:
        return [Fault(one.path, 1, "", "does not compile") if "bad" in one.source else None for one in sources]

    tree.write("flows/acme/lib/mail.py", "x = 1")
    async with watching(tree, vet_flows=vet) as watched:
        tree.write("flows/acme/lib/mail.py", "bad")
        await watched.until(lambda snapshot: snapshot.faults)
        assert modules(watched.snapshot) == {"mail": "x = 1"}
        assert not isinstance(watched.client().library.modules["mail"], Flow)
        tree.write("flows/acme/lib/mail.py", "x = 2")
        await watched.until(lambda snapshot: modules(snapshot) == {"mail": "x = 2"} and not snapshot.faults)
