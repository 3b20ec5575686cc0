"""One row of the table is all that settings, masking and warnings need to know of a webhook's field."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from whd.admin.settings import SettingOperations
from whd.model.options import LIMIT_NAMES, Options
from whd.model.snapshot import Snapshot, Webhook
from whd.settings.fields import read_text, read_texts
from whd.settings.index import Index
from whd.settings.webhooks import MASK, WEBHOOK_FIELDS, WebhookField, masked, read_saved_webhook

from .trees import WEBHOOK, Tree, open_tree
from .webhook_files import parse_webhook

NAME = "client.webhook.x"
PLAIN = WebhookField("colour", read_text, default="red")
SECRET = WebhookField("token", read_text, is_secret=True)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def add(monkeypatch: pytest.MonkeyPatch, *rows: WebhookField) -> None:
    for row in rows:
        monkeypatch.setitem(WEBHOOK_FIELDS, row.name, row)


def write(tree: Tree, more: str, *, mode: int = 0o640) -> Snapshot:
    tree.write(f"config/acme/settings/{NAME}.yaml", WEBHOOK.format(key="k3y") + more, mode=mode)
    return Index(str(tree.config), str(tree.flows)).load()


def shown(snapshot: Snapshot, operation: str) -> Any:
    """What the command's operation gives for the one setting."""
    reloader = SimpleNamespace(file_setting=lambda client, name: None)
    operations = SettingOperations(cast(Any, SimpleNamespace(snapshot=snapshot, reloader=reloader)))

    async def ask() -> Any:
        return await operations.table[f"settings.{operation}"]({"client": "acme", "name": NAME})

    return asyncio.run(ask())


class TestARowMore:
    def test_is_known_and_without_it_the_field_is_not(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "token: unknown field" in str(write(tree, "token: t0k3n\n").faults[0])
        add(monkeypatch, SECRET)
        snapshot = write(tree, "token: t0k3n\n")
        assert snapshot.faults == ()
        assert isinstance(snapshot.clients["acme"].webhooks["x"], Webhook)
        assert "did you mean token?" in str(write(tree, "tokn: t0k3n\n").faults[0])

    def test_is_hidden_from_operators_if_it_is_secret(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        add(monkeypatch, PLAIN, SECRET)
        snapshot = write(tree, "colour: blue\ntoken: t0k3n\n")
        value = {"flow_name": "signup", "user_name": "kevin", "key": MASK, "colour": "blue", "token": MASK}
        assert shown(snapshot, "show")["value"] == value
        (row,) = shown(snapshot, "list")
        assert row["value"] == value
        # The flow that may read the setting reads it as it is.
        assert snapshot.clients["acme"].settings[NAME].value["token"] == "t0k3n"

    def test_is_worth_a_warning_where_others_can_read_it(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        add(monkeypatch, PLAIN, SECRET)
        with open_tree() as others_may_enter:
            faults = write(others_may_enter, "colour: blue\ntoken: t0k3n\n", mode=0o644).faults
        assert [(fault.field, fault.line, fault.is_warning) for fault in faults] == [
            ("key", 3, True), ("token", 5, True),
        ]  # fmt: skip
        assert "the file holds a key, and every user" in str(faults[0])
        assert "the file holds a secret, and every user" in str(faults[1])
        assert "t0k3n" not in str(faults)
        assert write(tree, "colour: blue\ntoken: t0k3n\n").faults == ()

    def test_is_missed_if_it_is_required(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        add(monkeypatch, WebhookField("token", read_text, is_required=True))
        assert "token: is missing" in str(write(tree, "").faults[0])

    def test_holds_for_what_was_saved_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add(monkeypatch, WebhookField("tokens", read_texts, is_secret=True, by_flow=True))
        value = {"flow_name": "a", "user_name": "b", "tokens": ["one", "two"]}
        source, faults = read_saved_webhook(value, "saved", "acme", "x")
        assert source is not None
        assert (source.secrets, faults) == ((("tokens", 0),), ())
        assert masked(NAME, value)["tokens"] == [MASK, MASK]

    @pytest.mark.parametrize("secret", ["text", 5, None, {"scheme": "hmac", "secret": "text"}, ""])
    def test_hides_a_secret_of_any_shape(self, monkeypatch: pytest.MonkeyPatch, secret: Any) -> None:
        """Also one that no reader took: what cannot be used may still be a secret."""
        add(monkeypatch, SECRET)
        assert masked(NAME, {"token": secret}) == {"token": MASK}


def test_the_table_knows_every_limit_as_one_that_tightens() -> None:
    tightening = {row.name for row in WEBHOOK_FIELDS.values() if row.tightens}
    assert tightening == {*LIMIT_NAMES, "isolation", "show_script"}
    assert all(hasattr(Options(), name) for name in tightening)


def test_these_fields_are_secret() -> None:
    assert [row.name for row in WEBHOOK_FIELDS.values() if row.is_secret] == ["key", "verify", "status_key"]


def test_key_required_is_what_the_check_says() -> None:
    for text, required in (("key: [a, b]\n", True), ("", False)):
        webhook, _ = parse_webhook("flow_name: a\nuser_name: b\n" + text, "w.yaml", "acme", "x", Options())
        assert webhook is not None
        assert webhook.caller_check.key_required is required
