"""A tree of files into a snapshot: names, last good versions, references, and what is shared with the one before."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from whd.auth.callers import KeyCheck
from whd.errors import ConfigError
from whd.model.options import Options
from whd.model.snapshot import BrokenWebhook, Fault, Snapshot, Webhook
from whd.ownership import user_name
from whd.settings.index import Index
from whd.settings.watch import Changes

from .trees import FLOW, WEBHOOK, Tree, open_tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def index_of(tree: Tree, *, vets_flows: bool = False) -> Index:
    return Index(str(tree.config), str(tree.flows), vets_flows=vets_flows)


def load(tree: Tree) -> Snapshot:
    return index_of(tree).load()


def update(index: Index, *paths: Path, force: bool = False) -> Snapshot:
    changes = Changes({str(path) for path in paths}, everything=not paths, force=force)
    for reading in index.update(changes):
        if reading is not None:
            reading.parse()
    return index.snapshot()


def texts(snapshot: Snapshot, base: Path) -> list[str]:
    return [str(fault).replace(str(base.parent) + "/", "") for fault in snapshot.faults]


class TestReading:
    def test_the_whole_tree(self, tree: Tree) -> None:
        tree.webhook("signup", key="s3cret")
        tree.write("config/acme/settings/app.greeting.yaml", "text: hello\n")
        tree.write("flows/acme/two words.v2.py", FLOW.format(text="x"))
        tree.write("config/whd.yaml", "timeout_s: 20\n")
        snapshot = load(tree)
        assert snapshot.faults == ()
        assert snapshot.serial == 1
        assert snapshot.options == Options(timeout_s=20.0)
        client = snapshot.clients["acme"]
        assert set(client.users) == {"kevin"}
        assert set(client.flows) == {"signup", "two words.v2"}
        assert client.settings["app.greeting"].value == {"text": "hello"}
        webhook = client.webhooks["signup"]
        assert isinstance(webhook, Webhook)
        assert (webhook.caller_check, webhook.limits.timeout_s) == (KeyCheck((b"s3cret",)), 20.0)

    def test_a_webhook_is_a_setting_too(self, tree: Tree) -> None:
        """For flows whose user may read `client.webhook.…`."""
        tree.webhook("signup", key="s3cret")
        setting = load(tree).clients["acme"].settings["client.webhook.signup"]
        assert setting.value == {"flow_name": "signup", "user_name": "kevin", "key": "s3cret"}

    def test_a_client_may_have_only_flows_or_nothing_yet(self, tree: Tree) -> None:
        tree.path("config/empty").mkdir()
        tree.write("flows/other/a.py", "")
        snapshot = load(tree)
        assert set(snapshot.clients) == {"acme", "empty", "other"}
        assert set(snapshot.clients["other"].flows) == {"a"}

    @pytest.mark.parametrize("name", [".hidden.yaml", "a.yaml~", "a.yaml.swp", "a.yaml.tmp", ".a.yaml.swp"])
    def test_what_editors_leave_behind_is_ignored(self, tree: Tree, name: str) -> None:
        tree.write(f"config/acme/settings/{name}", ": not yaml\n")
        tree.write(f"flows/acme/{name}", "\xff")
        tree.path(f"config/{name}").mkdir()
        snapshot = load(tree)
        assert snapshot.faults == ()
        assert set(snapshot.clients) == {"acme"}

    @pytest.mark.parametrize("name", ["lost+found", "_drafts", "-a", "a b", "ä", "a" * 65, "@eaDir", "$RECYCLE.BIN"])
    def test_a_folder_that_is_no_clients_is_a_warning(self, tree: Tree, name: str) -> None:
        """A volume's own, drafts, notes: the daemon is not degraded for them."""
        tree.path(f"config/{name}").mkdir()
        tree.write(f"flows/{name}/x.py", "not read")
        snapshot = load(tree)
        assert [fault.is_warning for fault in snapshot.faults] == [True, True]
        assert texts(snapshot, tree.config)[0].startswith(
            f"config/{name}: warning: is no client's name: nothing in this folder is read; expected a name that matches"
        )

    @pytest.mark.parametrize("name", ["-a", "_a", "a b", "ä", "a" * 65, "a+b"])
    def test_a_name_that_fits_no_webhook_is_a_fault(self, tree: Tree, name: str) -> None:
        tree.webhook(name)
        assert texts(load(tree), tree.config) == [
            f"config/acme/settings/client.webhook.{name}.yaml: is no webhook's name; expected"
            " client.webhook.<name>.yaml, the name matching [A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        ]

    def test_files_that_nobody_reads_are_worth_a_word_if_they_look_as_if(self, tree: Tree) -> None:
        for name in ("whd.yml", "README.md", "acme/user.yaml", "acme/settings/app.x.yml", "acme/settings/notes.txt"):
            tree.write(f"config/{name}", "a: 1\n")
        tree.write("config/acme/setting/app.y.yaml", "a: 1\n")
        tree.write("flows/lost.py", "")
        snapshot = load(tree)
        assert all(fault.is_warning for fault in snapshot.faults)
        assert texts(snapshot, tree.config) == [
            "config/acme/setting: warning: this folder is not read - did you mean settings?",
            "config/acme/settings/app.x.yml: warning: nothing reads this file - did you mean app.x.yaml?",
            "config/acme/user.yaml: warning: nothing reads this file - did you mean users.yaml?",
            "config/whd.yml: warning: nothing reads this file - did you mean whd.yaml?",
            "flows/lost.py: warning: nothing reads this file; expected flows/<client>/lost.py",
        ]

    def test_settings_in_folders_of_their_own_are_named_one_by_one(self, tree: Tree) -> None:
        """Nested as other tools have it: each is missing, and nothing else would say so."""
        for name in ("signup/client.webhook.signup.yaml", "apps/app.x.yml", "apps/README.md", "apps/more/app.y.yaml"):
            tree.write(f"config/acme/settings/{name}", "a: 1\n")
        tree.path("config/acme/settings/apps/round").symlink_to("..")
        snapshot = load(tree)
        expected = "expected settings directly in config/<client>/settings/"
        assert all(fault.is_warning for fault in snapshot.faults)
        assert texts(snapshot, tree.config) == [
            f"config/acme/settings/apps/app.x.yml: warning: nothing reads this file; {expected}"
            " - did you mean config/acme/settings/app.x.yaml?",
            f"config/acme/settings/apps/more: warning: this folder is not read; {expected}",
            f"config/acme/settings/apps/round: warning: this folder is not read; {expected}",
            f"config/acme/settings/signup/client.webhook.signup.yaml: warning: nothing reads this file; {expected}"
            " - did you mean config/acme/settings/client.webhook.signup.yaml?",
        ]
        assert set(snapshot.clients["acme"].settings) == set()

    def test_settings_beside_their_folder_are_named_with_where_they_belong(self, tree: Tree) -> None:
        tree.write("config/acme/client.webhook.x.yaml", "a: 1\n")
        assert texts(load(tree), tree.config) == [
            "config/acme/client.webhook.x.yaml: warning: nothing reads this file"
            " - did you mean settings/client.webhook.x.yaml?"
        ]

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("client.webhooks.x.yaml", "client.webhook.x.yaml"),
            ("Client.webhook.x.yaml", "client.webhook.x.yaml"),
            ("CLIENT.WEBHOOK.x.yaml", "client.webhook.x.yaml"),
            ("clients.webhook.Some.Name.yaml", "client.webhook.Some.Name.yaml"),
            ("client_webhook_some_name.yaml", "client.webhook.some_name.yaml"),
            ("client.web-hook.x.yaml", "client.webhook.x.yaml"),
            ("client.webhok.x.yaml", "client.webhook.x.yaml"),
            ("client webhook x.yaml", "client.webhook.x.yaml"),
            ("client.webhook.x.yml", "client.webhook.x.yaml"),
            ("client.webhook.x.json", "client.webhook.x.yaml"),
            ("client.webhook.x.YAML", "client.webhook.x.yaml"),
            ("client.webhook.x", "client.webhook.x.yaml"),
            ("client.webhook.x.txt", "client.webhook.x.txt.yaml"),
            ("Client.webhooks.x.yml", "client.webhook.x.yaml"),
        ],
    )
    def test_a_name_that_was_meant_to_be_a_webhooks_is_named(self, tree: Tree, name: str, meant: str) -> None:
        tree.write(f"config/acme/settings/{name}", WEBHOOK.format(key="s3cret"))
        snapshot = load(tree)
        (fault,) = snapshot.faults
        assert fault.is_warning
        assert fault.suggestion == meant
        assert fault.path.endswith(f"/{name}")
        assert "s3cret" not in str(fault)
        assert not snapshot.clients["acme"].webhooks

    @pytest.mark.parametrize(
        "name", ["client.name.yaml", "client.website.yaml", "app.webhook.url.yaml", "client.webhook.x.yaml.bak", "x.md"]
    )
    def test_other_names_are_nobodys_mistake(self, tree: Tree, name: str) -> None:
        tree.write(f"config/acme/settings/{name}", "flow_name: signup\n")
        assert load(tree).faults == ()

    def test_a_setting_with_all_that_makes_a_webhook_but_the_name_is_named(self, tree: Tree) -> None:
        tree.write("config/acme/settings/webhook.signup.yaml", WEBHOOK.format(key="s3cret"))
        assert texts(load(tree), tree.config) == [
            "config/acme/settings/webhook.signup.yaml: warning: has the fields of a webhook, but is an ordinary setting"
            " by its name; expected client.webhook.<name>.yaml"
        ]

    def test_flows_in_folders_of_their_own_are_named(self, tree: Tree) -> None:
        for name in ("old/x.py", "__pycache__/x.pyc", ".git/x.py", "lib/names.py"):
            tree.write(f"flows/acme/{name}", "")
        assert texts(load(tree), tree.config) == [
            f"flows/acme/old: warning: this folder is not read; expected flows directly in {tree.flows}/acme/".replace(
                f"{tree.flows.parent}/", ""
            )
        ]

    @pytest.mark.parametrize(
        "key", ["${WEBHOOK_KEY}", "pre-${KEY}", "{{ webhook_key }}", "{{key}}", "['fine', '${OLD}']"]
    )
    def test_a_key_that_was_to_be_filled_in_is_a_warning(self, tree: Tree, key: str) -> None:
        text = key if key.startswith("[") else f'"{key}"'
        tree.write("config/acme/settings/client.webhook.x.yaml", f"flow_name: signup\nuser_name: kevin\nkey: {text}\n")
        snapshot = load(tree)
        (fault,) = snapshot.faults
        assert fault.is_warning
        assert (fault.line, fault.field) == (3, "key")
        assert "nothing fills in" in fault.what
        assert "KEY" not in str(fault)
        assert isinstance(snapshot.clients["acme"].webhooks["x"], Webhook)

    @pytest.mark.parametrize("key", ["$ecret", "{a}", "a}}b{{c", "$(x)"])
    def test_any_other_key_is_a_key(self, tree: Tree, key: str) -> None:
        tree.webhook("x", key=key)
        assert load(tree).faults == ()

    def test_things_that_are_no_files_are_faults(self, tree: Tree) -> None:
        settings = tree.path("config/acme/settings")
        settings.mkdir()
        (settings / "a.yaml").mkdir()
        os.mkfifo(settings / "b.yaml")
        (settings / "c.yaml").symlink_to("nowhere.yaml")
        (settings / "d.yaml").symlink_to("d.yaml")
        (settings / "e.yaml").write_bytes(b"a" * 5_000_000)
        tree.path("config/loop").symlink_to("loop")
        tree.path("config/other").symlink_to("nowhere")
        tree.write("config/flat/settings", "")
        (settings / "client.webhook.f.yaml").symlink_to("nowhere.yaml")
        snapshot = load(tree)
        assert texts(snapshot, tree.config) == [
            "config/acme/settings/a.yaml: is a folder; expected a file",
            "config/acme/settings/b.yaml: is no plain file; expected a file",
            "config/acme/settings/c.yaml: is a link that leads nowhere; expected a file behind it",
            "config/acme/settings/client.webhook.f.yaml: is a link that leads nowhere; expected a file behind it",
            "config/acme/settings/d.yaml: cannot be read: Too many levels of symbolic links",
            "config/acme/settings/e.yaml: has 5000000 bytes; expected at most 4194304",
            "config/flat/settings: is a file; expected a folder with the client's settings",
            "config/loop: is a link that leads nowhere that whd may look; expected a file or folder behind it",
            "config/other: is a link that leads nowhere that whd may look; expected a file or folder behind it",
        ]
        assert isinstance(snapshot.clients["acme"].webhooks["f"], BrokenWebhook)

    def test_a_file_name_that_is_no_text_is_a_fault(self, tree: Tree) -> None:
        settings = tree.path("config/acme/settings")
        settings.mkdir()
        with open(os.fsencode(settings) + b"/a\xff.yaml", "wb"):
            pass
        with open(os.fsencode(tree.flows) + b"/acme/a\nb.py", "wb"):
            pass
        faults = load(tree).faults
        assert len(faults) == 2
        assert all(str(fault).isprintable() for fault in faults)

    @pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
    def test_what_may_not_be_read_is_a_fault(self, tree: Tree) -> None:
        tree.webhook("a").chmod(0)
        me, closed = user_name(os.geteuid()), tree.path("config/closed")
        closed.mkdir(mode=0)
        try:
            snapshot = load(tree)
        finally:
            tree.path("config/closed").chmod(0o700)
        what = "cannot be read: Permission denied; expected"
        assert [str(fault) for fault in snapshot.faults] == [
            f"{tree.webhook_path('a')}: {what} a file that {me} may read: chmod 600 {tree.webhook_path('a')}",
            f"{closed}: {what} a folder that {me} may read: chmod 700 {closed}",
        ]
        assert isinstance(snapshot.clients["acme"].webhooks["a"], BrokenWebhook)

    def test_links_are_followed(self, tree: Tree, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "w.yaml").write_text(WEBHOOK.format(key="k"))
        (elsewhere / "w.yaml").chmod(0o600)
        tree.webhook_path("x").parent.mkdir()
        tree.webhook_path("x").symlink_to(elsewhere / "w.yaml")
        tree.path("config/twin").symlink_to("acme")
        tree.path("flows/twin").symlink_to("acme")
        snapshot = load(tree)
        assert snapshot.faults == ()
        assert isinstance(snapshot.clients["twin"].webhooks["x"], Webhook)

    def test_without_config_there_is_nothing_to_serve(self, tmp_path: Path) -> None:
        (tmp_path / "flows").mkdir()
        with pytest.raises(ConfigError, match=r"config: there is no such folder.*make it, or .*--config"):
            Index(str(tmp_path / "config"), str(tmp_path / "flows")).load()
        (tmp_path / "config").write_text("")
        with pytest.raises(ConfigError, match="is not a folder"):
            Index(str(tmp_path / "config"), str(tmp_path / "flows")).load()

    def test_without_flows_there_is_a_fault(self, tmp_path: Path) -> None:
        (tmp_path / "config").mkdir()
        snapshot = Index(str(tmp_path / "config"), str(tmp_path / "flows")).load()
        assert "flows: there is no such folder" in str(snapshot.faults[0])

    def test_the_two_roots_must_be_apart(self, tmp_path: Path) -> None:
        for flows in ("", "/", "/flows", "/../config"):
            with pytest.raises(ConfigError, match="two folders"):
                Index(f"{tmp_path}/config", f"{tmp_path}/config{flows}")


class TestReferences:
    def test_an_unknown_flow_or_user_is_a_fault_and_the_webhook_stays(self, tree: Tree) -> None:
        tree.write("config/acme/settings/client.webhook.x.yaml", "user_name: kevni\n\nflow_name: singup\n")
        snapshot = load(tree)
        assert texts(snapshot, tree.config) == [
            "config/acme/settings/client.webhook.x.yaml:1: user_name: there is no user 'kevni' in client acme;"
            f" expected a user of {tree.config}/acme/users.yaml - did you mean kevin?".replace(
                f"{tree.config.parent}/", ""
            ),
            "config/acme/settings/client.webhook.x.yaml:3: flow_name: there is no flow 'singup' in client acme;"
            " expected a flow's file name less .py - did you mean signup?",
        ]
        assert isinstance(snapshot.clients["acme"].webhooks["x"], Webhook)

    def test_a_broken_users_file_or_flow_speaks_for_itself(self, tree: Tree) -> None:
        tree.webhook("x")
        tree.write("config/acme/users.yaml", "- x\n")
        tree.write("flows/acme/signup.py", b"\xff")
        assert [text.split(": ")[0] for text in texts(load(tree), tree.config)] == [
            "config/acme/settings/client.webhook.x.yaml:1",
            "config/acme/users.yaml:1",
            "flows/acme/signup.py:1",
        ]

    def test_a_user_who_may_not_run_the_flow_is_worth_a_warning(self, tree: Tree) -> None:
        tree.webhook("x")
        tree.write("config/acme/users.yaml", "kevin: {flows: [mail]}\n")
        (fault,) = load(tree).faults
        assert fault.is_warning
        assert (fault.line, fault.field) == (2, "user_name")
        assert "kevin may not run the flow 'signup'" in str(fault)

    def test_a_key_that_others_can_read_is_worth_a_warning(self) -> None:
        keyless = "flow_name: signup\nuser_name: kevin\n"
        with open_tree() as tree:
            tree.webhook("x").chmod(0o644)
            tree.write("config/acme/settings/client.webhook.y.yaml", keyless, mode=0o644)
            (fault,) = load(tree).faults
        assert (fault.is_warning, fault.line, fault.field) == (True, 3, "key")
        assert "the file holds a key, and every user of this machine can read it" in str(fault)
        assert "chmod o-r" in str(fault)

    def test_references_follow_what_they_name(self, tree: Tree) -> None:
        tree.webhook("x")
        index = index_of(tree)
        assert index.load().faults == ()
        flow = tree.path("flows/acme/signup.py")
        flow.unlink()
        assert "there is no flow" in str(update(index, flow).faults)
        tree.write("flows/acme/signup.py", "")
        assert update(index, flow).faults == ()
        users = tree.write("config/acme/users.yaml", "kevin: {}\n")
        assert "may not run" in str(update(index, users).faults)
        users.unlink()
        assert "there is no user" in str(update(index, users).faults)

    def test_a_user_s_looser_isolation_is_worth_a_warning(self, tree: Tree) -> None:
        tree.write("config/whd.yaml", "isolation: execution\n")
        tree.write("config/acme/users.yaml", "kevin:\n  isolation: user\n")
        (fault,) = load(tree).faults
        assert (fault.is_warning, fault.line, fault.field) == (True, 2, "kevin.isolation")

    def test_a_thousand_missing_flows_are_named_in_time(self, tree: Tree) -> None:
        for i in range(300):
            tree.write(f"flows/acme/flow-number-{i}.py", "")
        for i in range(1000):
            tree.write(
                f"config/acme/settings/client.webhook.w{i}.yaml", f"flow_name: flow-nmber-{i}\nuser_name: kevin\n"
            )
        started = time.process_time()  # CPU time: neither a slow disk nor what else the machine does is counted
        assert len(load(tree).faults) == 1000
        assert time.process_time() - started < 5


class TestLastGoodVersion:
    def test_a_broken_file_keeps_serving_as_it_was(self, tree: Tree) -> None:
        path = tree.webhook("x", key="old")
        index = index_of(tree)
        before = index.load()
        tree.write("config/acme/settings/client.webhook.x.yaml", "flow_name: signup\nkey: new\n")
        after = update(index, path)
        assert after.clients["acme"] is before.clients["acme"]
        assert "user_name: is missing" in str(after.faults[0])
        tree.webhook("x", key="new")
        webhook = update(index, path).clients["acme"].webhooks["x"]
        assert isinstance(webhook, Webhook)
        assert webhook.caller_check == KeyCheck((b"new",))

    def test_a_webhook_that_never_was_good_is_broken(self, tree: Tree) -> None:
        path = tree.write("config/acme/settings/client.webhook.x.yaml", "flow_name: signup\n")
        client = load(tree).clients["acme"]
        assert client.webhooks["x"] == BrokenWebhook("acme", "x", str(path))
        assert "client.webhook.x" not in client.settings

    def test_removed_and_written_again_broken_it_has_no_good_version(self, tree: Tree) -> None:
        path = tree.webhook("x")
        index = index_of(tree)
        index.load()
        path.unlink()
        assert "x" not in update(index, path).clients["acme"].webhooks
        tree.write("config/acme/settings/client.webhook.x.yaml", "broken")
        assert isinstance(update(index, path).clients["acme"].webhooks["x"], BrokenWebhook)

    def test_users_settings_flows_and_options_too(self, tree: Tree) -> None:
        tree.write("config/whd.yaml", "timeout_s: 20\n")
        tree.write("config/acme/settings/a.yaml", "1")
        index = index_of(tree)
        before = index.load()
        tree.write("config/whd.yaml", "timeout_s: x\n")
        tree.write("config/acme/settings/a.yaml", "[")
        tree.write("config/acme/users.yaml", "[")
        tree.write("flows/acme/signup.py", b"\xff")
        after = update(index)
        assert after.clients is before.clients
        assert after.options is before.options
        assert len(after.faults) == 4

    def test_what_is_removed_is_gone(self, tree: Tree) -> None:
        tree.webhook("x")
        tree.write("config/whd.yaml", "timeout_s: 20\n")
        index = index_of(tree)
        index.load()
        for path in (tree.webhook_path("x"), tree.path("config/acme/users.yaml"), tree.path("flows/acme/signup.py")):
            path.unlink()
        tree.path("config/whd.yaml").unlink()
        snapshot = update(index)
        client = snapshot.clients["acme"]
        assert (*client.webhooks, *client.users, *client.flows, *client.settings) == ()
        assert snapshot.options == Options()

    def test_removed_folders_take_all_with_them(self, tree: Tree) -> None:
        tree.webhook("x")
        index = index_of(tree)
        index.load()
        os.rename(tree.path("config/acme/settings"), tree.path("config/acme/.settings"))
        assert not update(index, tree.path("config/acme/settings")).clients["acme"].webhooks
        os.rename(tree.path("config/acme"), tree.path("config/.acme"))
        assert not update(index, tree.path("config/acme")).clients["acme"].users
        os.rename(tree.path("flows/acme"), tree.path("flows/.acme"))
        assert update(index, tree.path("flows/acme")).clients == {}
        os.rename(tree.config, tree.path("other"))
        snapshot = update(index, tree.config)
        assert "config: there is no such folder" in texts(snapshot, tree.config)[0]
        os.rename(tree.path("other"), tree.config)
        assert update(index, tree.config).faults == ()


class TestOptions:
    def test_a_change_derives_every_webhook_again(self, tree: Tree) -> None:
        tree.write(
            "config/acme/settings/client.webhook.x.yaml", "flow_name: signup\nuser_name: kevin\ntimeout_s: 100\n"
        )
        index = index_of(tree)
        index.load()
        options = tree.write("config/whd.yaml", "timeout_s: 20\nshow_script: false\n")
        snapshot = update(index, options)
        webhook = snapshot.clients["acme"].webhooks["x"]
        assert isinstance(webhook, Webhook)
        assert (webhook.limits.timeout_s, webhook.show_script) == (20.0, False)
        assert [(fault.line, fault.field, fault.is_warning) for fault in snapshot.faults] == [(3, "timeout_s", True)]
        tree.write("config/whd.yaml", "timeout_s: 200\n")
        snapshot = update(index, options)
        webhook = snapshot.clients["acme"].webhooks["x"]
        assert isinstance(webhook, Webhook)
        assert (webhook.limits.timeout_s, snapshot.faults) == (100.0, ())

    def test_some_need_a_restart(self, tree: Tree) -> None:
        options = tree.write("config/whd.yaml", "processes: 1\n")
        index = index_of(tree)
        index.load()
        index.fix_options()
        tree.write("config/whd.yaml", "processes: 2\nworkers: 3\nlisten: 127.0.0.1:1\n")
        snapshot = update(index, options)
        assert (snapshot.options.processes, snapshot.options.workers) == (1, 3)
        assert snapshot.options.listen == Options().listen
        assert [(f.field, f.is_warning, "needs a restart" in f.what) for f in snapshot.faults] == [
            ("listen", True, True),
            ("processes", True, True),
        ]
        options.unlink()
        assert [fault.field for fault in update(index, options).faults] == ["processes"]

    def test_a_broken_first_version_is_no_ground_to_serve_with_defaults(self, tree: Tree) -> None:
        tree.write("config/whd.yaml", "isolation: exekution\n")
        index = index_of(tree)
        assert "did you mean execution?" in str(index.load().faults[0])
        with pytest.raises(ConfigError, match="did you mean execution"):
            index.check_usable()


class TestFlows:
    def changed(self, tree: Tree, index: Index, text: str) -> Snapshot:
        return update(index, tree.write("flows/acme/signup.py", FLOW.format(text=text)))

    def test_without_vetting_a_change_goes_in_at_once(self, tree: Tree) -> None:
        index = index_of(tree)
        index.load()
        assert "two" in self.changed(tree, index, "two").clients["acme"].flows["signup"].source

    def test_a_changed_flow_waits_until_it_is_vetted(self, tree: Tree) -> None:
        index = index_of(tree, vets_flows=True)
        before = index.load()
        assert index.candidates() == []
        assert self.changed(tree, index, "two") is before
        old, new = index.candidates()
        assert ("one" in old.source, "two" in new.source) == (True, True)
        for flow in (old, new):
            index.flow_fault(flow, None)
        index.settle()
        assert index.snapshot().clients["acme"].flows["signup"] is new
        assert index.candidates() == []
        self.changed(tree, index, "three")
        assert [flow.source for flow in index.candidates()] == [FLOW.format(text="three")]

    def test_one_that_does_not_compile_stays_out(self, tree: Tree) -> None:
        index = index_of(tree, vets_flows=True)
        index.load()
        self.changed(tree, index, "two")
        old, new = index.candidates()
        fault = Fault(new.path, 3, "", "invalid syntax")
        index.flow_fault(old, None)
        index.flow_fault(new, fault)
        snapshot = index.snapshot()
        assert snapshot.clients["acme"].flows["signup"] is old
        assert snapshot.faults == (fault,)
        assert self.changed(tree, index, "one").faults == ()

    def test_but_not_if_the_one_before_is_no_better(self, tree: Tree) -> None:
        index = index_of(tree, vets_flows=True)
        index.load()
        self.changed(tree, index, "two")
        old, new = index.candidates()
        index.flow_fault(old, Fault(old.path, 1, "", "old fault"))
        index.flow_fault(new, Fault(new.path, 2, "", "new fault"))
        index.settle()
        snapshot = index.snapshot()
        assert snapshot.clients["acme"].flows["signup"] is new
        assert [fault.what for fault in snapshot.faults] == ["new fault"]

    def test_a_late_fault_appears_and_goes_with_the_next_version(self, tree: Tree) -> None:
        index = index_of(tree, vets_flows=True)
        flow = index.load().clients["acme"].flows["signup"]
        fault = Fault(flow.path, 1, "", "invalid syntax")
        assert index.flow_fault(flow, fault)
        assert not index.flow_fault(flow, fault)
        assert index.snapshot().faults == (fault,)
        snapshot = self.changed(tree, index, "two")
        assert snapshot.faults == ()
        assert "two" in snapshot.clients["acme"].flows["signup"].source
        assert not index.flow_fault(flow, fault)


class TestSharing:
    def test_nothing_new_is_the_same_snapshot(self, tree: Tree) -> None:
        tree.webhook("x")
        index = index_of(tree)
        before = index.load()
        assert update(index) is before
        assert update(index, force=True) is before
        tree.webhook("x")
        assert update(index, tree.webhook_path("x")) is before

    def test_only_what_changed_is_built_again(self, tree: Tree) -> None:
        tree.webhook("x")
        tree.webhook("y")
        tree.webhook("z", client="other")
        index = index_of(tree)
        before = index.load()
        path = tree.webhook("x", key="new")
        after = update(index, path)
        assert after.serial == before.serial + 1
        assert after.clients["other"] is before.clients["other"]
        one, other = before.clients["acme"], after.clients["acme"]
        assert other.flows is one.flows
        assert other.users is one.users
        assert other.webhooks["y"] is one.webhooks["y"]
        assert isinstance(one.webhooks["x"], Webhook)
        assert one.webhooks["x"].caller_check == KeyCheck((b"k",))

    def test_nobody_can_change_a_snapshot(self, tree: Tree) -> None:
        client = load(tree).clients["acme"]
        for mapping in (client.users, client.flows, client.settings, client.webhooks):
            with pytest.raises(TypeError):
                mapping["x"] = None  # type: ignore[index]

    def test_ten_thousand_webhooks(self, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
        """They load in well under 2 s, take under 4 KiB each, and one change among them costs well under 100 ms."""
        tree = Tree(tmp_path / "many", bare=True)
        for client in range(100):
            settings = tree.path(f"config/client{client}/settings")
            settings.mkdir(parents=True)
            tree.write(f"config/client{client}/users.yaml", "kevin:\n  flows: [signup]\n")
            tree.write(f"flows/client{client}/signup.py", FLOW.format(text="x"))
            for i in range(100):
                (settings / f"client.webhook.hook{i}.yaml").write_text(WEBHOOK.format(key=f"key-{client}-{i}"))
        index = index_of(tree)
        tracemalloc.start()
        index.load()
        gc.collect()
        size_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # CPU time: neither a slow disk nor what else the machine does is counted.
        started = time.process_time()
        index = index_of(tree)
        snapshot = index.load()
        load_s = time.process_time() - started
        path = tree.webhook("hook7", key="new", client="client50")
        started = time.process_time()
        update(index, path)
        change_s = time.process_time() - started
        record_property("load_s", load_s)
        record_property("change_s", change_s)
        assert sum(len(client.webhooks) for client in snapshot.clients.values()) == 10_000
        # About 0.7 s, 2 KiB and 1 ms on an idle machine; the bounds leave room for a busy one.
        assert load_s < 4
        assert size_bytes / 10_000 < 4096
        assert change_s < 0.1
