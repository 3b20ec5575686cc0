"""Saved webhooks: an endpoint within the bounds of FLOW_API, 503 past them; no flow lends itself another's rights."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from whd.auth.callers import KeyCheck
from whd.auth.permissions import Action, PermissionDenied
from whd.errors import SaveRefused
from whd.model.snapshot import OPERATOR, BrokenWebhook, SavedSetting, Snapshot, User, Webhook
from whd.settings.index import Index
from whd.settings.saved import out_of_bounds
from whd.settings.watch import Changes
from whd.settings.webhooks import MASK, masked

from .trees import FLOW, Tree

USERS = """
kevin:
  flows: [signup]
  settings: {write: ["todo", "client.webhook.*"]}
  act_as: [robot]
robot:
  flows: [signup]
  settings: {write: ["*"]}
admin:
  flows: ["*"]
  settings: {read: ["*"], write: ["*", "client.webhook.*"]}
"""
NAME = "client.webhook.x"
VALUE = {"flow_name": "signup", "user_name": "kevin", "key": "s3cr3t"}


def record(value: Any, *, name: str = NAME, saver: str = "kevin", client: str = "acme") -> SavedSetting:
    return SavedSetting(client, name, value, json.dumps(value).encode(), saver, 1, 1)


class World:
    """An index over a tree, with webhook x saved or not."""

    def __init__(self, base: Path) -> None:
        self.tree = Tree(base)
        self.tree.write("config/acme/users.yaml", USERS)
        self.index = Index(str(self.tree.config), str(self.tree.flows))
        self.index.load()

    @property
    def snapshot(self) -> Snapshot:
        return self.index.current

    @property
    def faults(self) -> list[str]:
        return [str(fault) for fault in self.snapshot.faults]

    def save(self, value: Any, **fields: Any) -> None:
        """As Saved does it: checked, then taken in."""
        given = record(value, **fields)
        if given.name.startswith("client.webhook."):
            self.index.overlay.check_webhook(given)
        self.index.save([(given.client_name, given.name, given)])

    def delete(self, name: str = NAME) -> None:
        self.index.save([("acme", name, None)])

    def write(self, name: str, text: str) -> None:
        """An operator's change of a file, read."""
        self.tree.write(name, text)
        self.reload()

    def reload(self) -> None:
        for reading in self.index.update(Changes(everything=True)):
            if reading is not None:
                reading.parse()
        self.index.snapshot()

    def webhook(self, name: str = "x") -> Webhook | BrokenWebhook | None:
        return self.snapshot.clients["acme"].webhooks.get(name)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def assert_broken(world: World, *texts: str) -> None:
    """It answers 503, and the faults say why and what to do, with the saver's name, and never the key."""
    webhook = world.webhook()
    assert isinstance(webhook, BrokenWebhook)
    assert webhook.path == "acme: client.webhook.x (saved by kevin)"
    (fault,) = [fault for fault in world.faults if "answers 503" in fault]
    for text in ("saved by kevin", "whd settings unset client.webhook.x --client acme", *texts):
        assert text in fault
    assert "s3cr3t" not in "".join(world.faults)


class TestWithinTheBounds:
    def test_a_saved_webhook_is_an_endpoint_and_a_deleted_one_is_gone(self, world: World) -> None:
        world.save(VALUE)
        webhook = world.webhook()
        assert isinstance(webhook, Webhook)
        assert (webhook.flow_name, webhook.user_name) == ("signup", "kevin")
        assert webhook.caller_check == KeyCheck((b"s3cr3t",))
        assert world.faults == []
        setting = world.snapshot.clients["acme"].settings[NAME]
        assert (setting.value, setting.path) == (VALUE, "saved by kevin")
        world.save({**VALUE, "key": "other", "enabled": False})
        webhook = world.webhook()
        assert isinstance(webhook, Webhook)
        assert (webhook.caller_check, webhook.enabled) == (KeyCheck((b"other",)), False)
        world.delete()
        assert world.webhook() is None
        assert NAME not in world.snapshot.clients["acme"].settings

    def test_a_user_of_act_as_may_be_named(self, world: World) -> None:
        world.save({**VALUE, "user_name": "robot"})
        webhook = world.webhook()
        assert isinstance(webhook, Webhook)
        assert webhook.user_name == "robot"

    def test_act_as_is_a_list_of_globs_like_all_names_in_users_yaml(self, world: World) -> None:
        world.write("config/acme/users.yaml", USERS.replace("[robot]", '["robo?", "a*n"]'))
        for name in ("robot", "admin"):
            world.save({**VALUE, "user_name": name})
        with pytest.raises(PermissionDenied):
            world.save({**VALUE, "user_name": "Robot"})

    def test_its_limits_only_lower_and_a_change_of_the_options_reaches_it(self, world: World) -> None:
        world.save({**VALUE, "timeout_s": 100_000, "max_calls": 5, "show_script": False, "isolation": "user"})
        webhook = world.webhook()
        assert isinstance(webhook, Webhook)
        assert (webhook.limits.timeout_s, webhook.limits.max_calls, webhook.show_script) == (300.0, 5, False)
        assert [fault for fault in world.faults if "warning: timeout_s: 100000 is looser" in fault]
        world.write("config/whd.yaml", "max_calls: 3\nisolation: execution\n")
        webhook = world.webhook()
        assert isinstance(webhook, Webhook)
        assert (webhook.limits.max_calls, webhook.isolation) == (3, "execution")

    def test_a_missing_flow_or_user_is_a_fault_and_no_refusal(self, world: World) -> None:
        """Both are looked up at each call; they may come later."""
        world.save({**VALUE, "flow_name": "signupp"})
        assert isinstance(world.webhook(), Webhook)
        assert world.faults == [
            "acme: client.webhook.x (saved by kevin): flow_name: there is no flow 'signupp' in client acme; "
            "expected a flow's file name less .py - did you mean signup?"
        ]
        world.write("flows/acme/signupp.py", FLOW.format(text="x"))
        assert [fault for fault in world.faults if "kevin may not run the flow 'signupp'" in fault]

    def test_the_webhook_of_one_name_is_not_the_setting_of_that_name(self, world: World) -> None:
        world.save(VALUE)
        world.save(1, name="x")
        assert isinstance(world.webhook(), Webhook)
        world.delete("x")
        assert isinstance(world.webhook(), Webhook)


class TestWaysOfLendingRights:
    """Each way that a flow might try; refused with PermissionDenied, which names user, action and record."""

    @pytest.mark.parametrize("name", ["admin", "Kevin", "kevin ", "*", "rob*", "kevin\n", "nobody"])
    def test_another_users_name(self, world: World, name: str) -> None:
        with pytest.raises(PermissionDenied, match="user kevin may not act as") as caught:
            world.save({**VALUE, "user_name": name})
        assert (caught.value.user_name, caught.value.action, caught.value.record) == ("kevin", Action.ACT_AS, name)
        assert world.webhook() is None

    @pytest.mark.parametrize("saver", ["robot", "nobody"])
    def test_saving_without_the_right_to_write_it(self, world: World, saver: str) -> None:
        """Though the broker had forgotten to ask; robot's `*` does not reach webhooks."""
        with pytest.raises(PermissionDenied) as caught:
            world.save({**VALUE, "user_name": saver}, saver=saver)
        assert (caught.value.action, caught.value.record) == (Action.WRITE_SETTING, NAME)

    @pytest.mark.parametrize("content", ["flow_name: signup\nuser_name: admin\nkey: k\n", "flow_name: [broken\n"])
    def test_replacing_an_operators_file_broken_or_not(self, world: World, content: str) -> None:
        world.write(f"config/acme/settings/{NAME}.yaml", content)
        before = world.webhook()
        for saver in ("kevin", "admin", OPERATOR):
            with pytest.raises(PermissionDenied, match="operator's webhook file"):
                world.save({**VALUE, "user_name": saver or "admin"}, saver=saver)
        assert world.webhook() is before

    @pytest.mark.parametrize("user_name", [["kevin"], {"kevin": 1}, None, True, 7, ""])
    def test_a_user_name_that_is_no_name(self, world: World, user_name: Any) -> None:
        with pytest.raises(SaveRefused, match="user_name"):
            world.save({**VALUE, "user_name": user_name})

    def test_keeping_the_user_of_a_webhook_that_somebody_else_saved(self, world: World) -> None:
        world.save({**VALUE, "user_name": "admin"}, saver="admin")
        value = world.snapshot.clients["acme"].settings[NAME].value
        with pytest.raises(PermissionDenied):
            world.save({**value, "enabled": True, "flow_name": "signup"}, saver="kevin")
        world.save({**value, "user_name": "kevin"}, saver="kevin")

    def test_an_operators_command_may_name_any_user_and_a_flow_gains_nothing_from_that(self, world: World) -> None:
        world.save({**VALUE, "user_name": "admin"}, saver=OPERATOR)
        assert isinstance(world.webhook(), Webhook)
        with pytest.raises(PermissionDenied):
            world.save({**VALUE, "user_name": "admin"}, saver="kevin")

    def test_act_as_is_not_passed_on(self, world: World) -> None:
        """kevin may name robot, and robot admin; that does not let kevin name admin."""
        world.write("config/acme/users.yaml", USERS.replace("robot:\n", "robot:\n  act_as: [admin]\n"))
        with pytest.raises(PermissionDenied):
            world.save({**VALUE, "user_name": "admin"})

    def test_a_user_of_the_same_name_in_another_client_is_somebody_else(self, world: World) -> None:
        world.write("config/other/users.yaml", "kevin:\n  act_as: [admin]\nadmin:\n")
        with pytest.raises(PermissionDenied):
            world.save({**VALUE, "user_name": "admin"})
        with pytest.raises(PermissionDenied):
            world.save({**VALUE, "user_name": "admin"}, client="other")
        with pytest.raises(SaveRefused, match="no client"):
            world.save(VALUE, client="nowhere")

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ({"flow_name": "signup"}, "user_name: is missing"),
            ({**VALUE, "keyy": "s3cr3t"}, "unknown field"),
            ({**VALUE, "key": ""}, "key: is empty"),
            ({**VALUE, "key": []}, "key: is an empty list"),
            ({**VALUE, "key": 12345678}, "key: is a whole number"),
            ({**VALUE, "methods": ["TRACE"]}, "methods"),
            ({**VALUE, "timeout_s": -1}, "timeout_s"),
            ([], "is a list"),
            (None, "flow_name: is missing"),
        ],
    )
    def test_what_an_operators_file_could_not_hold(self, world: World, value: Any, text: str) -> None:
        with pytest.raises(SaveRefused) as caught:
            world.save(value)
        assert caught.value.kind == "InvalidInputError"
        assert text in str(caught.value)
        assert "s3cr3t" not in str(caught.value)
        assert "12345678" not in str(caught.value)


class TestTheBoundsAreCheckedAgain:
    """At every reload, and 503 from then on; once the bounds hold again, it serves again."""

    def test_the_saver_is_gone(self, world: World) -> None:
        world.save({**VALUE, "user_name": "robot"})
        world.write("config/acme/users.yaml", USERS.replace("kevin:", "kevin2:"))
        assert_broken(world, "user kevin may not write the setting")
        world.write("config/acme/users.yaml", USERS)
        assert isinstance(world.webhook(), Webhook)
        assert world.faults == []

    def test_the_right_to_write_it_is_withdrawn(self, world: World) -> None:
        world.save(VALUE)
        world.write("config/acme/users.yaml", USERS.replace('"todo", "client.webhook.*"', '"*", "client.webhook.y"'))
        assert_broken(world, "user kevin may not write the setting client.webhook.x")

    def test_act_as_is_withdrawn(self, world: World) -> None:
        world.save({**VALUE, "user_name": "robot"})
        world.write("config/acme/users.yaml", USERS.replace("[robot]", "[]"))
        assert_broken(world, "user kevin may not act as robot")

    def test_all_users_are_gone_or_unreadable(self, world: World) -> None:
        world.save(VALUE)
        world.tree.path("config/acme/users.yaml").unlink()
        world.reload()
        assert_broken(world)
        again = Index(str(world.tree.config), str(world.tree.flows), saved=[record(VALUE)])
        world.tree.write("config/acme/users.yaml", "kevin: [")
        assert isinstance(again.load().clients["acme"].webhooks["x"], BrokenWebhook)

    def test_an_operators_file_of_the_name_appeared(self, world: World) -> None:
        world.save(VALUE)
        world.write(f"config/acme/settings/{NAME}.yaml", "flow_name: signup\nuser_name: admin\nkey: k\n")
        assert_broken(world, "user kevin may not write the setting client.webhook.x: it is an operator's webhook file")
        assert world.snapshot.clients["acme"].settings[NAME].value["user_name"] == "admin"
        world.delete()
        webhook = world.webhook()
        assert isinstance(webhook, Webhook)
        assert webhook.user_name == "admin"
        world.save(1, name="todo")
        assert world.webhook() is webhook

    def test_what_was_in_order_when_checked_but_not_when_it_comes(self, world: World) -> None:
        """The right is withdrawn while the disk writes."""
        given = record(VALUE)
        world.index.overlay.check_webhook(given)
        world.write("config/acme/users.yaml", USERS.replace("kevin:", "kevin2:"))
        world.index.save([("acme", NAME, given)])
        assert_broken(world)

    def test_an_earlier_whds_value_that_is_no_webhook_any_more(self, world: World) -> None:
        world.index.save([("acme", NAME, record({**VALUE, "colour": "red"}))])
        assert isinstance(world.webhook(), BrokenWebhook)
        assert [fault for fault in world.faults if "saved by kevin" in fault and "unknown field" in fault]


def test_the_bounds_are_one_pure_function_with_every_case_in_it() -> None:
    kevin = User("kevin", settings_write=("client.webhook.*",), act_as=("robot",))
    users = {"kevin": kevin, "robot": User("robot", settings_write=("*",))}
    for saver, user_name, has_file, action in (
        ("kevin", "kevin", False, None),
        ("kevin", "robot", False, None),
        ("kevin", "admin", False, Action.ACT_AS),
        ("kevin", "kevin", True, Action.WRITE_SETTING),
        ("robot", "robot", False, Action.WRITE_SETTING),
        ("gone", "gone", False, Action.WRITE_SETTING),
        (OPERATOR, "admin", False, None),
        (OPERATOR, "admin", True, Action.WRITE_SETTING),
    ):
        error = out_of_bounds(users, saver, user_name, NAME, has_file=has_file)
        assert (error and error.action) == action, (saver, user_name, has_file)


def test_keys_are_masked_and_nothing_else_is() -> None:
    assert masked(NAME, VALUE) == {**VALUE, "key": MASK}
    assert masked(NAME, {**VALUE, "key": ["a", "b"]}) == {**VALUE, "key": [MASK, MASK]}
    assert masked("app.x", VALUE) == VALUE
    assert masked(NAME, {"flow_name": "a"}) == {"flow_name": "a"}


class TestSharing:
    """A swap is cheap, and shares what did not change."""

    def test_other_clients_and_parts_are_the_same_objects(self, world: World) -> None:
        world.write("config/other/users.yaml", "")
        world.save(VALUE)
        before = world.snapshot
        world.save(1, name="todo")
        after = world.snapshot
        assert after.serial == before.serial + 1
        assert after.clients["other"] is before.clients["other"]
        assert after.clients["acme"].webhooks is before.clients["acme"].webhooks
        assert after.clients["acme"].users is before.clients["acme"].users
        assert after.faults is before.faults
        assert before.clients["acme"].settings.get("todo") is None
        world.reload()
        assert world.snapshot is after

    def test_one_saved_setting_among_10_000_webhooks_costs_little(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        text = json.dumps(VALUE)
        for number in range(10_000):
            path = world.tree.webhook_path(f"w{number}")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o600)
        world.reload()
        assert len(world.snapshot.clients["acme"].webhooks) == 10_000
        for name in ("todo", NAME):
            took = []
            for number in range(20):
                started = time.process_time()  # CPU time: what else the machine does is not counted
                world.save({**VALUE, "key": f"k{number}"}, name=name)
                took.append(time.process_time() - started)
            assert sorted(took)[5] < 0.005
