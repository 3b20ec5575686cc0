"""A running daemon's settings: what changes on disk is live soon, whole, and without a moment of nonsense.

Every test but those of one mechanism runs with inotify and with polling.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import inspect
import logging
import operator
import os
import random
import shutil
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.running import Stopwatch
from whd.errors import ConfigError
from whd.model.snapshot import BrokenWebhook, Fault, Snapshot, Source, Webhook
from whd.settings import files, inotify, reload, watch, watch_polling
from whd.settings.reload import Reloader

from .trees import FLOW, PATIENCE_S, WEBHOOK, Tree, Watched, keys_of, open_tree, watching

LIVE_S = 1.0


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test that is a coroutine; nothing that it started may be left."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        before = _open_descriptors()
        asyncio.run(test(*args, **kwargs))
        assert _open_descriptors() == before

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run


def _open_descriptors() -> set[str]:
    links = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:
            continue  # the listing's own
    return links


def all_have(key: str, count: int, snapshot: Snapshot) -> bool:
    return all(keys_of(snapshot, f"w{i}") == (key.encode(),) for i in range(count))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture(params=["inotify", "polling"])
def polls_in_time(request: pytest.FixtureRequest) -> bool:
    """Which of the two, for tests of how long it takes."""
    return bool(request.param == "polling")


@pytest.fixture
def polls(polls_in_time: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Which of the two, for all others: polling looks four times as often, and rests of files are as much shorter."""
    if polls_in_time:
        monkeypatch.setattr(watch_polling, "INTERVAL_S", watch_polling.INTERVAL_S / 4)
        monkeypatch.setattr(watch_polling, "_TICK_S", watch_polling._TICK_S / 4)
        quiet_s = watch.QUIET_S / 4
        for module in (watch, watch_polling):
            monkeypatch.setattr(module, "QUIET_S", quiet_s)
    return polls_in_time


class TestFiles:
    @on_loop
    async def test_new_changed_and_removed_files_are_live_within_a_second(
        self, tree: Tree, polls_in_time: bool
    ) -> None:
        async with watching(tree, polls=polls_in_time) as watched:
            for change in (
                lambda: tree.webhook("x", key="one"),
                lambda: tree.webhook("x", key="two"),
                lambda: tree.webhook_path("x").unlink(),
                lambda: tree.write("config/acme/settings/a.yaml", "1"),
                lambda: tree.write("config/acme/users.yaml", "kevin:\n"),
                lambda: tree.write("flows/acme/signup.py", FLOW.format(text="two")),
                lambda: tree.write("config/whd.yaml", "timeout_s: 1"),
                lambda: tree.path("flows/acme/signup.py").unlink(),
            ):
                before = watched.snapshot
                since_change = Stopwatch()
                change()
                await watched.until(partial(operator.is_not, before))
                assert since_change.elapsed_s() < LIVE_S
        keys = [keys_of(snapshot, "x") for snapshot in watched.snapshots]
        assert keys == [None, (b"one",), (b"two",), *[None] * 6]

    @on_loop
    async def test_a_file_written_in_place_is_read_when_it_is_closed(self, tree: Tree, polls: bool) -> None:
        async with watching(tree, polls=polls) as watched:
            tree.webhook_path("x").parent.mkdir()
            for key in ("one", "two"):
                with tree.webhook_path("x").open("w") as file:
                    file.write(WEBHOOK.format(key=key))
                await watched.until_key("x", key)

    @on_loop
    async def test_a_broken_file_keeps_its_last_good_version(self, tree: Tree, polls: bool) -> None:
        tree.webhook("x", key="good")
        async with watching(tree, polls=polls) as watched:
            tree.write("config/acme/settings/client.webhook.x.yaml", "flow_name: signup\nkey:\n")
            tree.write("config/acme/settings/client.webhook.y.yaml", "flow_name: signup\nkey:\n")
            await watched.until(lambda snapshot: len(snapshot.faults) == 4)
            assert keys_of(watched.snapshot, "x") == (b"good",)
            assert isinstance(watched.client().webhooks["y"], BrokenWebhook)
            tree.webhook("x", key="better")
            tree.webhook("y", key="good")
            await watched.until(lambda snapshot: not snapshot.faults)
            assert keys_of(watched.snapshot, "x") == (b"better",)

    @on_loop
    async def test_an_unknown_flow_or_user_is_said_and_found_when_it_comes(self, tree: Tree, polls: bool) -> None:
        async with watching(tree, polls=polls) as watched:
            tree.write("config/acme/settings/client.webhook.x.yaml", "flow_name: late\nuser_name: kevni\nkey: k\n")
            await watched.until(lambda snapshot: len(snapshot.faults) == 2)
            assert {fault.suggestion for fault in watched.snapshot.faults} == {"kevin", ""}
            assert keys_of(watched.snapshot, "x") == (b"k",)
            tree.write("flows/acme/late.py", "")
            tree.write("config/acme/users.yaml", "kevni: {flows: ['*']}\n")
            await watched.until(lambda snapshot: not snapshot.faults)

    @on_loop
    async def test_the_ways_of_editors(self, tree: Tree, polls: bool) -> None:
        """A back-up and a new file (vim), swap files beside it, a test file, a copy in place."""
        path = tree.webhook("x", key="one")
        async with watching(tree, polls=polls) as watched:
            path.with_name(".client.webhook.x.yaml.swp").write_bytes(b"\0binary")
            path.with_name("4913").write_bytes(b"")
            path.with_name("4913").unlink()
            os.rename(path, path.with_name(path.name + "~"))
            path.write_text(WEBHOOK.format(key="two"))
            path.with_name(path.name + "~").unlink()
            await watched.until_key("x", "two")
            assert not [fault for fault in watched.snapshot.faults if not fault.is_warning]
            shutil.copy(tree.write("config/.copy", WEBHOOK.format(key="three")), path)
            await watched.until_key("x", "three")

    @on_loop
    async def test_files_that_are_linked_into_place(self, tree: Tree, polls: bool) -> None:
        """link(2) brings a whole file and no close: nothing must wait for one."""
        whole = tree.write("config/.whole", WEBHOOK.format(key="k"))
        tree.webhook_path("x").parent.mkdir()
        async with watching(tree, polls=polls) as watched:
            os.link(whole, tree.webhook_path("x"))
            await watched.until_key("x", "k")
            os.rename(tree.webhook_path("x"), tree.webhook_path("y"))
            await watched.until_key("y", "k")
            assert keys_of(watched.snapshot, "x") is None

    @on_loop
    async def test_rights_are_looked_at_again(self, polls: bool) -> None:
        with open_tree() as tree:
            path = tree.webhook("x")
            async with watching(tree, polls=polls) as watched:
                path.chmod(0o644)
                await watched.until(lambda snapshot: len(snapshot.faults) == 1)
                path.chmod(0o600)
                await watched.until(lambda snapshot: not snapshot.faults)

    @on_loop
    async def test_so_are_those_of_the_folders_above(self) -> None:
        """A file that everybody may read, in a folder that nobody else may enter."""
        with open_tree() as tree:
            tree.webhook("x").chmod(0o644)
            tree.config.chmod(0o700)
            async with watching(tree) as watched:
                assert watched.snapshot.faults == ()
                tree.config.chmod(0o755)
                await watched.until(lambda snapshot: len(snapshot.faults) == 1)
                tree.config.chmod(0o750)
                await watched.until(lambda snapshot: not snapshot.faults)

    @on_loop
    async def test_what_cannot_be_read_for_a_moment_is_read_later(
        self, tree: Tree, polls: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Out of descriptors: nothing will tell when there are some again."""
        read_all = files._read_all
        left = 3

        def read(fd: int) -> bytes:
            nonlocal left
            left -= 1
            if left >= 0:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return read_all(fd)

        async with watching(tree, polls=polls) as watched:
            monkeypatch.setattr(files, "_read_all", read)
            tree.webhook("x")
            await watched.until(lambda snapshot: snapshot.faults)
            assert "Too many open files" in str(watched.snapshot.faults[0])
            await watched.until_key("x", "k")
            assert watched.snapshot.faults == ()

    @on_loop
    async def test_a_thousand_webhooks_at_once(self, tree: Tree, polls_in_time: bool) -> None:
        tree.webhook_path("x").parent.mkdir()
        async with watching(tree, polls=polls_in_time) as watched:
            started = time.monotonic()
            for i in range(1000):
                tree.webhook(f"w{i}", key=f"k{i}")
            since_written = Stopwatch()
            await watched.until(lambda snapshot: len(snapshot.clients["acme"].webhooks) == 1000)
            assert since_written.elapsed_s() < LIVE_S
            assert keys_of(watched.snapshot, "w777") == (b"k777",)
            # A few swaps, not a thousand: a burst counts once, but does not hold up what is there already.
            assert len(watched.snapshots) < 5 + (time.monotonic() - started) / reload.MAX_DELAY_S
            shutil.rmtree(tree.webhook_path("x").parent)
            await watched.until(lambda snapshot: not snapshot.clients["acme"].webhooks)

    @on_loop
    async def test_a_thousand_webhooks_in_a_folder_moved_into_place(self, tree: Tree, polls: bool) -> None:
        for i in range(1000):
            tree.webhook(f"w{i}", client="../.staged")
        async with watching(tree, polls=polls) as watched:
            os.rename(tree.path(".staged"), tree.path("config/other"))
            await watched.until(lambda s: "other" in s.clients and len(s.clients["other"].webhooks) == 1000)

    @on_loop
    async def test_constant_changes_do_not_hold_up_a_swap(self, tree: Tree, polls: bool) -> None:
        loop = asyncio.get_running_loop()
        async with watching(tree, polls=polls) as watched:
            count = 0
            timer: asyncio.TimerHandle

            def write() -> None:
                nonlocal count, timer
                count += 1
                tree.webhook(f"noise{count % 7}", key=str(count))
                timer = loop.call_later(0.01, write)

            timer = loop.call_later(0, write)
            tree.webhook("x", key="k")
            await watched.until_key("x", "k")
            timer.cancel()


class TestHalfWritten:
    @on_loop
    async def test_a_setting_never_serves_without_its_key(self, tree: Tree) -> None:
        """Its writer takes its time; meanwhile other files change and SIGHUP forces everything to be read."""
        tree.webhook_path("x").parent.mkdir()
        async with watching(tree) as watched:
            with tree.webhook_path("x").open("w") as file:
                for turn, line in enumerate(WEBHOOK.format(key="s3cret").splitlines(keepends=True)):
                    file.write(line)
                    file.flush()
                    tree.webhook("other", key=str(turn))
                    await watched.until_key("other", str(turn))
                    await watched.reloader.reload()
                    assert "x" not in watched.client().webhooks
            await watched.until_key("x", "s3cret")
        assert {keys_of(snapshot, "x") for snapshot in watched.snapshots} == {None, (b"s3cret",)}

    @on_loop
    async def test_an_old_version_stays_while_a_new_one_is_written(self, tree: Tree) -> None:
        path = tree.webhook("x", key="old")
        async with watching(tree) as watched:
            with path.open("r+") as file:
                file.truncate()
                file.write("flow_name: signup\nuser_name: kevin\n")
                file.flush()
                await watched.reloader.reload()
                tree.webhook("other")
                await watched.until_key("other", "k")
                assert keys_of(watched.snapshot, "x") == (b"old",)
                file.write("key: new\n")
            await watched.until_key("x", "new")
        assert {keys_of(snapshot, "x") for snapshot in watched.snapshots} == {(b"old",), (b"new",)}

    @on_loop
    async def test_a_file_that_is_renamed_counts_as_done(self, tree: Tree) -> None:
        tree.webhook_path("x").parent.mkdir()
        async with watching(tree) as watched:
            with tree.webhook_path("draft").open("w") as file:
                file.write(WEBHOOK.format(key="k"))
                file.flush()
                os.rename(tree.webhook_path("draft"), tree.webhook_path("x"))
                await watched.until_key("x", "k")

    @on_loop
    async def test_behind_a_link_too(self, tree: Tree, tmp_path: Path) -> None:
        target = tmp_path / "elsewhere" / "w.yaml"
        target.parent.mkdir()
        target.write_text(WEBHOOK.format(key="old"))
        tree.webhook_path("x").parent.mkdir()
        tree.webhook_path("x").symlink_to(target)
        async with watching(tree) as watched:
            with target.open("w") as file:
                file.write("flow_name: signup\nuser_name: kevin\n")
                file.flush()
                await watched.reloader.reload()
                file.write("key: new\n")
            await watched.until_key("x", "new")
        assert {keys_of(snapshot, "x") for snapshot in watched.snapshots} == {(b"old",), (b"new",)}

    @on_loop
    async def test_a_new_folder_s_files_wait_for_their_writers(self, tree: Tree) -> None:
        """The first files of a folder may come before it is watched: then only standing still tells."""
        async with watching(tree) as watched:
            path = tree.webhook_path("x", client="new")
            path.parent.mkdir(parents=True)
            with path.open("w") as file:
                file.write("flow_name: signup\nuser_name: kevin\n")
                file.flush()
                tree.webhook("other")
                await watched.until(lambda snapshot: "new" in snapshot.clients)
                file.write("key: s3cret\n")
            await watched.until_key("x", "s3cret", client="new")
        assert {keys_of(snapshot, "x", "new") for snapshot in watched.snapshots} == {None, (b"s3cret",)}

    @on_loop
    async def test_polling_waits_until_a_file_stands_still(self, tree: Tree) -> None:
        loop = asyncio.get_running_loop()
        tree.webhook_path("x").parent.mkdir()
        async with watching(tree, polls=True) as watched:
            with tree.webhook_path("x").open("w", buffering=1) as file:
                file.write("flow_name: signup\nuser_name: kevin\n")
                done = loop.create_future()

                def write(turn: int) -> None:
                    file.write("# still writing\n" if turn else "key: s3cret\n")
                    if turn:
                        loop.call_later(0.05, write, turn - 1)
                    else:
                        done.set_result(None)

                write(12)
                await done
            await watched.until_key("x", "s3cret")
        assert {keys_of(snapshot, "x") for snapshot in watched.snapshots} == {None, (b"s3cret",)}


class TestFolders:
    @on_loop
    async def test_deleted_and_made_again(self, tree: Tree, polls: bool) -> None:
        tree.webhook("x", key="one")
        async with watching(tree, polls=polls) as watched:
            for turn, folder in enumerate(("config/acme/settings", "config/acme", "config")):
                shutil.rmtree(tree.path(folder))
                await watched.until_gone("x")
                tree.webhook("x", key=str(turn))
                await watched.until_key("x", str(turn))

    @on_loop
    async def test_deleted_and_made_again_at_once(self, tree: Tree, polls: bool) -> None:
        tree.webhook("x", key="one")
        async with watching(tree, polls=polls) as watched:
            for turn, folder in enumerate(("config/acme/settings", "config/acme", "config")):
                shutil.rmtree(tree.path(folder))
                tree.webhook("x", key=str(turn))
                await watched.until_key("x", str(turn))
                tree.webhook("x", key="again")
                await watched.until_key("x", "again")

    @on_loop
    async def test_both_roots_gone_and_back(self, tree: Tree, polls: bool) -> None:
        tree.webhook("x")
        async with watching(tree, polls=polls) as watched:
            os.rename(tree.config, tree.path("aside"))
            os.rename(tree.flows, tree.path("aside-flows"))
            await watched.until(lambda snapshot: not snapshot.clients)
            assert [fault.what for fault in watched.snapshot.faults] == ["there is no such folder"] * 2
            os.rename(tree.path("aside"), tree.config)
            os.rename(tree.path("aside-flows"), tree.flows)
            await watched.until_key("x", "k")
            await watched.until(lambda snapshot: not snapshot.faults)

    @on_loop
    async def test_the_folder_above_the_roots_gone_and_back(self, tmp_path: Path) -> None:
        tree = Tree(tmp_path / "a" / "b")
        tree.webhook("x")
        async with watching(tree) as watched:
            shutil.rmtree(tmp_path / "a" / "b")
            await watched.until(lambda snapshot: not snapshot.clients)
            new = Tree(tmp_path / "a" / "b")
            new.webhook("x", key="new")
            await watched.until_key("x", "new")

    @on_loop
    async def test_renamed(self, tree: Tree, polls: bool) -> None:
        tree.webhook("x", key="one")
        async with watching(tree, polls=polls) as watched:
            os.rename(tree.path("config/acme"), tree.path("config/other"))
            await watched.until_key("x", "one", client="other")
            await watched.until_gone("x")
            tree.webhook("x", key="two", client="other")
            await watched.until_key("x", "two", client="other")

    @on_loop
    async def test_swapped_for_another_of_the_same_name(self, tree: Tree, polls: bool) -> None:
        tree.webhook("x", key="one")
        tree.webhook("x", key="two", client="../.new")
        async with watching(tree, polls=polls) as watched:
            os.rename(tree.path("config/acme"), tree.path(".old"))
            os.rename(tree.path(".new"), tree.path("config/acme"))
            await watched.until_key("x", "two")
            tree.webhook("x", key="three")
            await watched.until_key("x", "three")


class TestLinks:
    def mount(self, folder: Path, files: dict[str, str], stamp: str) -> None:
        """What Kubernetes does with a ConfigMap: a new folder, a link to it, renamed over the one before."""
        new = folder / f"..{stamp}"
        new.mkdir(parents=True)
        for name, text in files.items():
            (new / name).write_text(text)
            (new / name).chmod(0o640)
        (folder / "..data_tmp").symlink_to(new.name)
        old = (folder / "..data").resolve() if (folder / "..data").exists() else None
        os.rename(folder / "..data_tmp", folder / "..data")
        for name in files:
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"..data/{name}")
        if old is not None:
            shutil.rmtree(old)

    @on_loop
    async def test_a_kubernetes_volume_is_swapped(self, tree: Tree, polls_in_time: bool) -> None:
        settings = tree.path("config/acme/settings")
        names = [f"client.webhook.w{i}.yaml" for i in range(20)]
        self.mount(settings, dict.fromkeys(names, WEBHOOK.format(key="one")), "2026_11_23")
        async with watching(tree, polls=polls_in_time) as watched:
            assert keys_of(watched.snapshot, "w7") == (b"one",)
            for key in ("two", "three"):
                since_change = Stopwatch()
                self.mount(settings, dict.fromkeys(names, WEBHOOK.format(key=key)), f"2026_11_23_{key}")
                await watched.until(partial(all_have, key, 20))
                assert since_change.elapsed_s() < LIVE_S
            # Nothing was ever missing, and whoever looked saw one version or the other.
            for snapshot in watched.snapshots:
                assert keys_of(snapshot, "w7") in ((b"one",), (b"two",), (b"three",))

    @pytest.mark.parametrize("linked", ["config", "config/acme", "config/acme/settings"])
    @on_loop
    async def test_a_folder_that_is_a_link_is_swapped(self, tmp_path: Path, polls: bool, linked: str) -> None:
        real = [Tree(tmp_path / name) for name in ("one", "two", "three")]
        for there in real:
            there.webhook("x", key=there.config.parent.name)
        tree = Tree(tmp_path)
        tree.webhook("y")
        shutil.rmtree(tree.path(linked))
        tree.path(linked).symlink_to(real[0].path(linked))
        async with watching(tree, polls=polls) as watched:
            assert keys_of(watched.snapshot, "x") == (b"one",)
            for there in real[1:]:
                new = tree.path(".new")
                new.symlink_to(there.path(linked))
                os.rename(new, tree.path(linked))
                await watched.until_key("x", there.config.parent.name)
            real[2].webhook("x", key="inside")
            await watched.until_key("x", "inside")

    @on_loop
    async def test_a_link_on_the_way_to_the_roots_is_swapped(self, tmp_path: Path, polls: bool) -> None:
        for name in ("one", "two"):
            Tree(tmp_path / "releases" / name).webhook("x", key=name)
        current = tmp_path / "current"
        current.symlink_to("releases/one")
        reloader = Reloader(str(current / "config"), str(current / "flows"), polls=polls)
        await reloader.start()
        try:
            watched = Watched(reloader)
            (tmp_path / "new").symlink_to("releases/two")
            os.rename(tmp_path / "new", current)
            await watched.until_key("x", "two")
        finally:
            reloader.close()

    @on_loop
    async def test_a_file_that_is_a_link_is_followed_to_its_target(
        self, tree: Tree, tmp_path: Path, polls: bool
    ) -> None:
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        for name in ("a", "b"):
            (secrets / name).write_text(WEBHOOK.format(key=name))
        path = tree.webhook_path("x")
        path.parent.mkdir()
        path.symlink_to(secrets / "a")
        async with watching(tree, polls=polls) as watched:
            (secrets / "a").write_text(WEBHOOK.format(key="in place"))
            await watched.until_key("x", "in place")
            (secrets / "c").write_text(WEBHOOK.format(key="renamed"))
            os.rename(secrets / "c", secrets / "a")
            await watched.until_key("x", "renamed")
            (tmp_path / "link").symlink_to(secrets / "b")
            os.rename(tmp_path / "link", path)
            await watched.until_key("x", "b")
            shutil.rmtree(secrets)
            await watched.until(lambda snapshot: any("leads nowhere" in fault.what for fault in snapshot.faults))
            assert keys_of(watched.snapshot, "x") == (b"b",)
            secrets.mkdir()
            (secrets / "b").write_text(WEBHOOK.format(key="back"))
            await watched.until_key("x", "back")
            tree.webhook("x", key="no link")
            await watched.until_key("x", "no link")


class TestReloader:
    @on_loop
    async def test_a_burst_is_one_swap(self, tree: Tree) -> None:
        tree.webhook_path("x").parent.mkdir()
        async with watching(tree) as watched:
            for i in range(20):
                tree.webhook(f"w{i}")
            await watched.until(lambda snapshot: len(snapshot.clients["acme"].webhooks) == 20)
            assert len(watched.snapshots) == 2
            assert [snapshot.serial for snapshot in watched.snapshots] == [1, 2]

    @on_loop
    async def test_force_reads_everything_and_swaps_only_what_differs(self, tree: Tree, polls: bool) -> None:
        tree.webhook("x")
        async with watching(tree, polls=polls) as watched:
            assert await watched.reloader.reload() is watched.snapshots[0]
            tree.webhook("x", key="new")
            if not polls:
                assert keys_of(await watched.reloader.reload(force=False), "x") == (b"new",)

    @on_loop
    async def test_start_waits_for_files_that_were_just_written(self, tree: Tree, polls: bool) -> None:
        tree.write("config/whd.yaml", "processes: 3\n")
        async with watching(tree, polls=polls) as watched:
            assert watched.snapshot.options.processes == 3
            assert watched.snapshot.serial == 1
            assert set(watched.client().flows) == {"signup"}

    @on_loop
    async def test_start_refuses_what_cannot_be_served(self, tree: Tree, polls: bool) -> None:
        tree.write("config/whd.yaml", "isolation: exekution\n")
        with pytest.raises(ConfigError, match="did you mean execution"):
            await Reloader(str(tree.config), str(tree.flows), polls=polls).start()
        shutil.rmtree(tree.config)
        with pytest.raises(ConfigError, match="there is no such folder"):
            await Reloader(str(tree.config), str(tree.flows), polls=polls).start()

    @on_loop
    async def test_options_are_live_but_for_some(
        self, tree: Tree, polls: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "whd.settings")
        tree.webhook("x")
        async with watching(tree, polls=polls) as watched:
            tree.write("config/whd.yaml", "processes: 3\nlisten: [127.0.0.1:1]\ntimeout_s: 7\n")
            snapshot = await watched.until(lambda snapshot: snapshot.options.timeout_s == 7)
            assert snapshot.options.processes == 0
            webhook = snapshot.clients["acme"].webhooks["x"]
            assert isinstance(webhook, Webhook)
            assert webhook.limits.timeout_s == 7
        assert "processes: changed from 0 and needs a restart" in caplog.text
        assert "listen: changed from [127.0.0.1:8080] and needs a restart" in caplog.text

    @on_loop
    async def test_each_reload_is_one_line_and_each_fault_is_said_once(
        self, tree: Tree, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "whd.settings")
        async with watching(tree) as watched:
            tree.write("config/acme/settings/client.webhook.x.yaml", "key: s3cret\n")
            await watched.until(lambda snapshot: snapshot.faults)
            tree.webhook("y")
            await watched.until_key("y", "k")
        lines = [record.getMessage().replace(str(tree.config), "config") for record in caplog.records]
        x, y = (f"config/acme/settings/client.webhook.{name}.yaml" for name in "xy")
        assert lines == [
            "4 folders are watched with inotify",
            f"settings read: 2 read, 0 gone, 0 faults (config/acme/users.yaml, {tree.flows}/acme/signup.py)",
            f"settings reloaded: 1 read, 0 gone, 2 faults ({x})",
            f"{x}:1: flow_name: is missing; expected flow_name: NAME",
            f"{x}:1: user_name: is missing; expected user_name: NAME",
            f"settings reloaded: 1 read, 0 gone, 2 faults ({y})",
        ]

    @on_loop
    async def test_a_large_file_does_not_hold_the_loop(self, tree: Tree) -> None:
        loop = asyncio.get_running_loop()
        async with watching(tree) as watched:
            longest = 0.0
            begun = last = loop.time()
            timer: asyncio.TimerHandle

            def beat() -> None:
                nonlocal longest, last, timer
                longest, last = max(longest, loop.time() - last), loop.time()
                timer = loop.call_later(0.001, beat)

            timer = loop.call_later(0, beat)
            tree.write("config/acme/settings/large.yaml", "".join(f"key{i}: [1, 2, x]\n" for i in range(30_000)))
            await watched.until(lambda snapshot: "large" in snapshot.clients["acme"].settings)
            timer.cancel()
            # A ratio, not a time: read on the loop, nearly all of it would be one single pause.
            assert longest < (loop.time() - begun) / 2

    @on_loop
    async def test_closed_it_reports_nothing(self, tree: Tree, polls: bool) -> None:
        async with watching(tree, polls=polls) as watched:
            watched.reloader.close()
            watched.reloader.close()
            tree.webhook("x")
        assert len(watched.snapshots) == 1


class TestVetting:
    def vetting(self, *, hold: asyncio.Event | None = None) -> tuple[Any, list[str]]:
        asked: list[str] = []

        async def vet(flows: Sequence[Source]) -> Sequence[Fault | None]:
            asked.extend(flow.source for flow in flows)
            if hold is not None:
                await hold.wait()
            return [Fault(flow.path, 1, "", "does not compile") if "bad" in flow.source else None for flow in flows]

        return vet, asked

    @on_loop
    async def test_new_flows_go_in_at_once_and_changed_ones_when_they_compile(self, tree: Tree, polls: bool) -> None:
        vet, asked = self.vetting()
        async with watching(tree, polls=polls, vet_flows=vet) as watched:
            tree.write("flows/acme/new.py", "bad")
            await watched.until(lambda snapshot: "new" in snapshot.clients["acme"].flows)
            assert asked == []
            tree.write("flows/acme/signup.py", "bad too")
            snapshot = await watched.until(lambda snapshot: snapshot.faults)
            assert "one" in snapshot.clients["acme"].flows["signup"].source
            tree.write("flows/acme/signup.py", "fine")
            await watched.until(lambda snapshot: snapshot.clients["acme"].flows["signup"].source == "fine")
            assert watched.snapshot.faults == ()
            assert asked[1:] == ["bad too", "fine"]

    @on_loop
    async def test_a_slow_compiler_holds_up_no_removal(self, tree: Tree) -> None:
        tree.webhook("x")
        hold = asyncio.Event()
        vet, _ = self.vetting(hold=hold)
        async with watching(tree, vet_flows=vet) as watched:
            tree.write("flows/acme/signup.py", "fine")
            tree.webhook_path("x").unlink()
            await watched.until_gone("x")
            assert "one" in watched.client().flows["signup"].source
            tree.webhook("y")
            await watched.until_key("y", "k")
            hold.set()
            await watched.until(lambda snapshot: snapshot.clients["acme"].flows["signup"].source == "fine")

    @on_loop
    async def test_a_compiler_that_fails_keeps_no_change_out(self, tree: Tree) -> None:
        async def vet(flows: Sequence[Source]) -> Sequence[Fault | None]:
            raise OSError("no worker")

        async with watching(tree, vet_flows=vet) as watched:
            tree.write("flows/acme/signup.py", "fine")
            await watched.until(lambda snapshot: snapshot.clients["acme"].flows["signup"].source == "fine")

    @on_loop
    async def test_a_fault_found_at_a_run_is_shown(self, tree: Tree) -> None:
        vet, _ = self.vetting()
        async with watching(tree, vet_flows=vet) as watched:
            flow = watched.client().flows["signup"]
            fault = Fault(flow.path, 3, "", "does not compile")
            watched.reloader.flow_fault(flow, fault)
            await watched.until(lambda snapshot: snapshot.faults == (fault,))
            tree.write("flows/acme/signup.py", "fine")
            await watched.until(lambda snapshot: snapshot.faults == ())


class TestInotify:
    @on_loop
    async def test_lost_events_mean_that_everything_is_looked_at(self, tree: Tree) -> None:
        """More events than the kernel queues while the loop is busy: among them one that mattered."""
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if limit > 50_000:
            pytest.skip("this kernel queues too many events")
        tree.webhook("x")
        async with watching(tree) as watched:
            noise = [tree.path(f"config/acme/settings/.noise{i}") for i in range(2)]
            for _ in range(limit // 4):
                for path in noise:
                    path.touch()
                    path.unlink()
            tree.webhook("x", key="lost")
            tree.webhook("y", key="lost")
            tree.path("config/acme/users.yaml").unlink()
            await watched.until_key("x", "lost")
            await watched.until_key("y", "lost")
            await watched.until(lambda snapshot: not snapshot.clients["acme"].users)

    @pytest.mark.parametrize("number", [errno.ENOSYS, errno.EMFILE])
    @on_loop
    async def test_without_inotify_there_is_polling(
        self, tree: Tree, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse() -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(inotify, "initialise", refuse)
        async with watching(tree) as watched:
            tree.webhook("x")
            await watched.until_key("x", "k")
        assert f"cannot watch files with inotify ({os.strerror(number)})" in caplog.text

    @on_loop
    async def test_a_file_system_that_others_change_is_polled(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Docker's mounts on a Mac, NFS: what another kernel changes gives no event in this one."""
        assert inotify.silent_file_system("/proc") == inotify.silent_file_system("/nowhere") == ""
        monkeypatch.setattr(inotify, "silent_file_system", lambda path: "NFS")
        caplog.set_level(logging.INFO, "whd.settings")
        async with watching(tree) as watched:
            tree.webhook("x")
            await watched.until_key("x", "k")
            tree.webhook("x", key="two")
            await watched.until_key("x", "two")
        assert f"{tree.config} (NFS)" in caplog.text

    @pytest.mark.parametrize("left", [0, 3, 6])
    @on_loop
    async def test_exhausted_watches_mean_polling_from_then_on(
        self, tree: Tree, left: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        add_watch = inotify.add_watch

        def counted(fd: int, path: str, mask: int) -> int:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return add_watch(fd, path, mask)

        monkeypatch.setattr(inotify, "add_watch", counted)
        async with watching(tree) as watched:
            for client in ("acme", "two", "three"):
                tree.webhook("x", client=client)
                await watched.until_key("x", "k", client=client)
        assert caplog.text.count("cannot watch files with inotify") == 1
        assert "fs.inotify.max_user_watches" in caplog.text

    @on_loop
    async def test_no_watch_is_left_for_what_is_gone(self, tree: Tree) -> None:
        def watches(watched: Watched) -> int:
            fds = [fd for fd in os.listdir("/proc/self/fd") if "inotify" in _target(fd)]
            return sum(Path(f"/proc/self/fdinfo/{fd}").read_text().count("inotify wd:") for fd in fds)

        async with watching(tree) as watched:
            before = watches(watched)
            for turn in range(3):
                tree.webhook("x", key=str(turn), client="other")
                tree.webhook_path("y").parent.mkdir(exist_ok=True)
                tree.webhook_path("y").symlink_to(tree.webhook_path("x", client="other"))
                await watched.until_key("x", str(turn), client="other")
                await watched.until_key("y", str(turn))
                shutil.rmtree(tree.path("config/other"))
                shutil.rmtree(tree.path("config/acme/settings"))
                await watched.until_gone("y")
                await watched.until(lambda snapshot: "other" not in snapshot.clients)
            assert watches(watched) == before


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


class TestChaos:
    @on_loop
    async def test_after_any_storm_the_snapshot_is_what_is_on_disk(self, tree: Tree, polls_in_time: bool) -> None:
        chance = random.Random(1)
        async with watching(tree, polls=polls_in_time) as watched:
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                with contextlib.suppress(
                    OSError
                ):  # Links in a circle, folders that are not there: fine, and part of it.
                    self.strike(tree, chance)
                await asyncio.sleep(0)
            expected = await self.fresh(tree)

            def same(snapshot: Snapshot) -> bool:
                return self.seen(snapshot) == expected

            try:
                await watched.until(same)
            except TimeoutError:
                raise AssertionError(f"{self.seen(watched.snapshot)} is not {expected}") from None

    def strike(self, tree: Tree, chance: random.Random) -> None:
        client, other = chance.choices("abc", k=2)
        name = f"w{chance.randrange(5)}"
        match chance.randrange(8):
            case 0 | 1 | 2 if not (tree.config / client).is_symlink():
                tree.webhook(name, client=client, key=str(chance.random()))
            case 3:
                tree.webhook_path(name, client).unlink(missing_ok=True)
            case 4:
                shutil.rmtree(tree.path(f"config/{client}"), ignore_errors=True)
                tree.path(f"config/{client}").unlink(missing_ok=True)
            case 5:
                if client != other and not os.path.lexists(tree.path(f"config/{other}")):
                    os.rename(tree.config / client, tree.config / other) if (tree.config / client).exists() else None
            case 6:
                if not os.path.lexists(tree.config / client):
                    (tree.config / client).symlink_to(other)
            case 7:
                if tree.webhook_path(name, client).parent.is_dir():
                    tree.webhook_path(name, client).write_text(WEBHOOK.format(key=str(chance.random())))

    async def fresh(self, tree: Tree) -> object:
        async with watching(tree) as watched:
            return self.seen(watched.snapshot)

    def seen(self, snapshot: Snapshot) -> object:
        return {
            client.name: {name: keys_of(snapshot, name, client.name) for name in client.webhooks}
            for client in snapshot.clients.values()
        }


assert PATIENCE_S > LIVE_S
