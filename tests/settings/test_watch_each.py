"""Each folder and file is watched or polled as it needs, and says so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from whd.settings import inotify
from whd.settings.reload import Reloader

from .test_reload import on_loop
from .trees import WEBHOOK, Tree, Watched, watching


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def write_in_place(path: Path, text: str) -> None:
    """Without a new inode, and without closing in between."""
    with path.open("r+") as file:
        file.truncate()
        file.write(text)


class Silent:
    """Folders that this kernel hears nothing of, as on NFS."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
        self._names = [os.path.realpath(folder) for folder in folders]
        self._add_watch = inotify.add_watch
        monkeypatch.setattr(inotify, "silent_file_system", self.file_system)
        monkeypatch.setattr(inotify, "add_watch", self.add_watch)

    def is_silent(self, path: str) -> bool:
        real = os.path.realpath(path)
        return any(real == name or real.startswith(name + "/") for name in self._names)

    def file_system(self, path: str) -> str:
        return "NFS" if self.is_silent(path) else ""

    def add_watch(self, fd: int, path: str, mask: int) -> int:
        # It can be watched, but nothing comes: only what happens to the folder itself is asked for.
        return self._add_watch(fd, path, inotify.ONLYDIR | inotify.DELETE_SELF if self.is_silent(path) else mask)


def polled(watched: Watched) -> dict[str, str]:
    return dict(watched.reloader.polled)


@on_loop
async def test_ordinary_folders_are_watched_and_nothing_is_polled(tree: Tree) -> None:
    tree.webhook("x")
    async with watching(tree) as watched:
        assert polled(watched) == {}
        assert watched.reloader.watched_count == 5


@on_loop
async def test_one_client_on_a_network_file_system_is_polled_and_the_others_are_not(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "whd.settings")
    tree.webhook("x")
    tree.webhook("y", client="far")
    Silent(monkeypatch, tree.config / "far")
    async with watching(tree) as watched:
        far = tree.config / "far"
        assert polled(watched) == {str(far): "NFS", str(far / "settings"): "NFS"}
        tree.webhook("y", key="two", client="far")
        await watched.until_key("y", "two", "far")
        tree.webhook("x", key="two")
        await watched.until_key("x", "two")
    assert f"{far} (NFS), {far}/settings (NFS)" in caplog.text


@on_loop
async def test_a_folder_behind_links_of_links_is_polled_if_one_of_them_may_change_silently(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flows/acme → near/current → far/current → near/v1: only the middle one is on the silent file system."""
    near, far = tmp_path / "near", tmp_path / "far"
    for version in ("v1", "v2"):
        (near / version).mkdir(parents=True)
        (near / version / "which.py").write_text(version)
    far.mkdir()
    (far / "current").symlink_to(near / "v1")
    (near / "current").symlink_to(far / "current")
    (tree.flows / "linked").symlink_to(near / "current")
    Silent(monkeypatch, far)
    async with watching(tree) as watched:
        assert polled(watched) == {str(tree.flows / "linked"): "a link on NFS leads there"}
        (far / "new").symlink_to(near / "v2")
        (far / "new").rename(far / "current")
        await watched.until(lambda snapshot: snapshot.clients["linked"].flows["which"].source == "v2")


@on_loop
async def test_a_file_that_leads_to_a_network_file_system_is_polled_alone(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes' way: the file leads through ..data, whose target is swapped."""
    far = tmp_path / "far"
    for version in ("..1", "..2"):
        (far / version).mkdir(parents=True)
        (far / version / "x.yaml").write_text(WEBHOOK.format(key=version))
    (far / "..data").symlink_to("..1")
    tree.webhook("y")
    tree.webhook_path("x").symlink_to(far / "..data" / "x.yaml")
    Silent(monkeypatch, far)
    async with watching(tree) as watched:
        assert polled(watched) == {str(tree.webhook_path("x")): "leads to NFS"}
        (far / "..new").symlink_to("..2")
        (far / "..new").rename(far / "..data")
        await watched.until_key("x", "..2")
        tree.webhook_path("x").unlink()
        await watched.until_gone("x")
        assert polled(watched) == {}


@on_loop
async def test_a_file_with_a_second_name_is_live_when_it_is_written_under_that(tree: Tree, tmp_path: Path) -> None:
    path = tree.webhook("x")
    os.link(path, tmp_path / "second name")
    async with watching(tree) as watched:
        assert polled(watched) == {str(path): "has several names"}
        write_in_place(tmp_path / "second name", WEBHOOK.format(key="two"))
        await watched.until_key("x", "two")


@on_loop
async def test_a_folder_that_becomes_readable_is_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that could not even be watched while it was closed."""
    tree.webhook("x")
    add_watch = inotify.add_watch
    is_closed = True

    def refuse(fd: int, path: str, mask: int) -> int:
        if is_closed and path.endswith("settings"):
            raise PermissionError(13, "Permission denied")
        return add_watch(fd, path, mask)

    monkeypatch.setattr(inotify, "add_watch", refuse)
    async with watching(tree) as watched:
        assert polled(watched) == {str(tree.config / "acme" / "settings"): "it cannot be watched"}
        tree.webhook("x", key="two")
        await watched.until_key("x", "two")


# ---- mounts ----------------------------------------------------------------------------------------------------------


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def no_mount_left(tmp_path: Path) -> Iterator[None]:
    yield
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed([point for point in points if point.startswith(f"{tmp_path}/")]):
        subprocess.run(["umount", "-l", point], check=True)


needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


def bind(source: Path, target: Path) -> None:
    try:
        mount("--bind", source, target)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"nothing can be mounted here: {error.stderr!r}")


@needs_mount
@pytest.mark.process
@on_loop
async def test_a_file_that_is_mounted_by_itself_is_live_when_its_source_is_written(tree: Tree, tmp_path: Path) -> None:
    """`docker run -v file:file`: the inode stays, and the folder that it is seen in hears nothing."""
    source = tmp_path / "source.yaml"
    source.write_text(WEBHOOK.format(key="one"))
    bind(source, tree.webhook("x", key="under it"))
    async with watching(tree) as watched:
        await watched.until_key("x", "one")
        assert polled(watched) == {str(tree.webhook_path("x")): "is mounted by itself"}
        for key in ("two", "three"):
            write_in_place(source, WEBHOOK.format(key=key))
            await watched.until_key("x", key)


@needs_mount
@pytest.mark.process
@on_loop
async def test_a_mount_that_comes_or_goes_is_noticed(tree: Tree, tmp_path: Path) -> None:
    source = tmp_path / "a source"
    source.mkdir()
    (source / "client.webhook.x.yaml").write_text(WEBHOOK.format(key="from the mount"))
    settings = tree.webhook("x", key="under it").parent
    async with watching(tree) as watched:
        bind(source, settings)
        await watched.until_key("x", "from the mount")
        (source / "client.webhook.x.yaml").write_text(WEBHOOK.format(key="two"))
        await watched.until_key("x", "two")
        subprocess.run(["umount", settings], check=True)
        await watched.until_key("x", "under it")
        bind(source / "client.webhook.x.yaml", settings / "client.webhook.x.yaml")
        await watched.until_key("x", "two")
        write_in_place(source / "client.webhook.x.yaml", WEBHOOK.format(key="three"))
        await watched.until_key("x", "three")


def test_without_proc_all_is_as_if_nothing_were_mounted(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whd.settings.mounts._FILE", "/nowhere")

    @on_loop
    async def main() -> None:
        reloader = Reloader(str(tree.config), str(tree.flows))
        await reloader.start()
        assert reloader.polled == {}
        reloader.close()

    main()
