"""Who else reads a key, and what the daemon, as another user than who looks, could not read at its next start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from whd.model.snapshot import Fault
from whd.ownership import Account
from whd.settings.index import Index

from .trees import Tree, open_tree

NOBODY = Account(65_534, 65_534, frozenset((65_534,)))
ROOT = Account(0, 0, frozenset((0,)))

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def tree() -> Iterator[Tree]:
    with open_tree() as tree:
        yield tree


def faults(tree: Tree, daemon: Account | None = None) -> tuple[Fault, ...]:
    return Index(str(tree.config), str(tree.flows), daemon=daemon).load().faults


@pytest.mark.parametrize("name", ["config", "config/acme", "config/acme/settings", "."])
def test_a_folder_above_that_others_may_not_enter_closes_the_file(tree: Tree, name: str) -> None:
    path = tree.webhook("x")
    path.chmod(0o644)
    assert [fault.field for fault in faults(tree)] == ["key"]
    tree.path(name).chmod(0o750)
    assert faults(tree) == ()


def test_a_link_leads_where_the_file_is(tree: Tree) -> None:
    """The folder of the link is open, the one of the file is not, and the other way round."""
    closed, opened = tree.path("closed"), tree.path("opened")
    for folder, mode in ((closed, 0o700), (opened, 0o755)):
        folder.mkdir()
        folder.chmod(mode)
        path = tree.webhook("x")
        path.chmod(0o644)
        path.rename(folder / "x.yaml")
    tree.webhook_path("x").symlink_to(closed / "x.yaml")
    assert faults(tree) == ()
    tree.webhook_path("x").unlink()
    tree.webhook_path("x").symlink_to(opened / "x.yaml")
    assert [fault.field for fault in faults(tree)] == ["key"]


@as_root
@pytest.mark.parametrize(
    ("owner", "mode", "daemon", "way_out"),
    [
        ((0, 0), 0o644, ROOT, "chmod o-r {path}"),
        ((65_534, 0), 0o644, NOBODY, "chmod o-r {path}"),
        ((0, 65_534), 0o644, NOBODY, "chmod o-r {path}"),
        ((0, 65_534), 0o604, NOBODY, "chmod 640 {path}"),
        ((0, 0), 0o644, NOBODY, "chgrp {group} {path} && chmod 640 {path}"),
    ],
)
def test_the_advice_leaves_the_daemon_able_to_read(
    tree: Tree, owner: tuple[int, int], mode: int, daemon: Account, way_out: str
) -> None:
    path = tree.webhook("x")
    os.chown(path, *owner)
    path.chmod(mode)
    found = [fault for fault in faults(tree, daemon) if fault.field == "key"]
    group = "nogroup" if Path("/etc/debian_version").exists() else found[0].expected.split()[1]
    assert [fault.expected for fault in found] == [way_out.format(path=path, group=group)]


@as_root
@pytest.mark.parametrize(
    ("name", "mode", "way_out"),
    [
        ("config/acme/settings/client.webhook.x.yaml", 0o600, "chmod 640"),
        ("config/acme/users.yaml", 0o600, "chmod 640"),
        ("flows/acme/signup.py", 0o600, "chmod 640"),
        ("config/acme/settings", 0o700, "chmod 2750"),
        ("flows/acme", 0o700, "chmod 2750"),
        ("config", 0o700, "chmod 2750"),
        (".", 0o700, "chmod 2750"),
    ],
)
def test_what_the_daemon_could_not_read_is_a_fault_for_root(tree: Tree, name: str, mode: int, way_out: str) -> None:
    """Root reads everything: its check must not say that all is well."""
    tree.webhook("x").chmod(0o640)
    for path in (tree.config.parent, *tree.config.parent.rglob("*")):
        os.chown(path, 0, NOBODY.gid)
    assert faults(tree, NOBODY) == ()
    path = tree.path(name) if name != "." else tree.config.parent
    path.chmod(mode)
    found = faults(tree, NOBODY)
    assert found
    assert {fault.path for fault in found} == {str(path)}
    for fault in found:
        assert not fault.is_warning
        assert f"mode {mode:04o}" in fault.what
        assert fault.expected == f"{way_out} {path}"
    os.chown(path, 0, 0)
    assert faults(tree, NOBODY)[0].expected.startswith("chgrp ")


@as_root
def test_who_is_asked_about_himself_leaves_it_to_the_kernel(tree: Tree) -> None:
    tree.webhook("x").chmod(0)
    assert faults(tree, Account.current()) == ()
