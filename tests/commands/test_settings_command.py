"""`whd settings`, as a person types it, with a daemon and without one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.running import ECHO_FLOW, Project, running
from whd.settings.webhooks import MASK

from .typed import document, whd

SECRET = "s3cr3t-of-the-file"
NEW_SECRET = "s3cr3t-that-was-set"
NEW = {"flow_name": "echo", "user_name": "kevin", "key": NEW_SECRET}


@pytest.fixture
def acme(project: Project) -> Project:
    project.endpoint("echo", ECHO_FLOW, key=SECRET)
    project.setting("acme", "app.greeting", {"en": "hello"})
    for path in project.config.rglob("*.yaml"):
        path.chmod(0o600)
    return project


@pytest.fixture(params=["with a daemon", "without a daemon"])
def either(request: pytest.FixtureRequest, acme: Project) -> Any:
    if request.param == "with a daemon":
        with running(acme):
            yield acme
    else:
        yield acme


def listed(project: Project, *arguments: str) -> dict[str, Any]:
    rows = document(whd(project, "settings", "list", "--json", *arguments))
    return {row["name"]: row for row in rows}


def test_list_show_set_and_unset(either: Project) -> None:
    file = str(either.config / "acme" / "settings" / "app.greeting.yaml")
    row = document(whd(either, "settings", "show", "app.greeting", "--json"))
    assert row == {
        "client": "acme", "name": "app.greeting", "source": file, "saved_by": None, "saved_at": None, "hides": None,
        "value": {"en": "hello"},
    }  # fmt: skip

    result = whd(either, "settings", "set", "app.greeting", "--client", "acme", "{en: hi, at: 2026-11-23}")
    assert result.returncode == 0
    assert result.stdout.startswith("acme: app.greeting, saved by an operator at 2")
    assert f"stands before {file}" in result.stderr
    row = listed(either)["app.greeting"]
    assert (row["value"], row["source"], row["hides"]) == (
        {"en": "hi", "at": "2026-11-23"},
        "saved by an operator",
        file,
    )
    assert row["saved_at"]

    result = whd(either, "settings", "unset", "app.greeting")
    assert (result.returncode, result.stdout) == (0, f"app.greeting: now from {file}\n")
    assert listed(either)["app.greeting"]["value"] == {"en": "hello"}
    assert whd(either, "settings", "unset", "app.greeting").returncode == 1

    document(whd(either, "settings", "set", "new", "--json", "[1]"))
    assert document(whd(either, "settings", "unset", "new", "--json")) is None
    assert "new" not in listed(either)


def test_keys_are_masked_everywhere(either: Project, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(json.dumps({**NEW, "key": [NEW_SECRET, "another-s3cr3t"]}))
    outputs = []
    for arguments in (
        ("set", "client.webhook.new", f"@{tmp_path}/new.yaml"),
        ("set", "client.webhook.new", f"@{tmp_path}/new.yaml", "--json"),
        ("list",),
        ("list", "--json"),
        ("show", "client.webhook.new"),
        ("show", "client.webhook.new", "--json"),
        ("show", "client.webhook.echo"),
        ("show", "client.webhook.echo", "--json"),
    ):
        result = whd(either, "settings", *arguments)
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout + result.stderr)
    assert "s3cr3t" not in "".join(outputs)
    rows = listed(either)
    assert rows["client.webhook.new"]["value"]["key"] == [MASK, MASK]
    assert rows["client.webhook.echo"]["value"]["key"] == MASK


def test_a_webhook_that_was_set_serves_the_next_request(acme: Project) -> None:
    with running(acme) as daemon:
        headers = {"X-Webhook-Key": NEW_SECRET}
        assert daemon.post("/api/webhook/acme/new", {}, headers=headers).status == 404
        assert whd(acme, "settings", "set", "client.webhook.new", "-", stdin=json.dumps(NEW)).returncode == 0
        answer = daemon.post("/api/webhook/acme/new", {"n": 1}, headers=headers)
        assert (answer.status, answer.json["output_value"]) == (200, {"received": {"n": 1}})
        assert daemon.post("/api/webhook/acme/new", {}).status == 401
        assert whd(acme, "settings", "unset", "client.webhook.new").returncode == 0
        assert daemon.post("/api/webhook/acme/new", {}, headers=headers).status == 404
        assert NEW_SECRET not in daemon.log


def test_what_was_set_is_there_after_a_restart_and_for_check_and_webhooks(acme: Project) -> None:
    with running(acme):
        assert whd(acme, "settings", "set", "client.webhook.new", json.dumps(NEW)).returncode == 0
        assert whd(acme, "settings", "set", "app.greeting", "hi").returncode == 0
    with running(acme) as daemon:
        assert daemon.post("/api/webhook/acme/new", {}, headers={"X-Webhook-Key": NEW_SECRET}).status == 200
        rows = document(whd(acme, "webhooks", "--json"))
        assert [(row["webhook"], row["key_required"]) for row in rows] == [("echo", True), ("new", True)]
    faults = document(whd(acme, "check", "--json"))
    hidden = [fault for fault in faults if "hidden by the value saved by an operator" in fault["what"]]
    assert [fault["is_warning"] for fault in hidden] == [True]
    assert hidden[0]["path"].endswith("app.greeting.yaml")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", "nothing"), "no setting 'nothing'"),
        (("show", "app.greeting", "--client", "nobody"), "there are: acme"),
        (("set", "a", "[1, {"), "VALUE:2: is not YAML"),
        (("set", "a", "@nowhere.yaml"), "nowhere.yaml: No such file"),
        (("set", "a/b", "1"), "the setting's name 'a/b' holds a /"),
        (("set", "a", "1", "--client", "nobody"), "there are: acme"),
        (("set", "client.webhook.echo", json.dumps(NEW)), "an operator's webhook file"),
        (("set", "client.webhook.new", json.dumps({**NEW, "kee": 1})), "unknown field"),
        (("set", "client.webhook.new", f"{{flow_name: echo, user_name: kevin, {NEW_SECRET}: x}}"), "unknown field"),
        (("set", "client.webhook.", json.dumps(NEW)), "no webhook's name"),
        (("unset", "app.greeting"), "operator's file stands"),
        (("unset", "nothing"), "no such setting"),
    ],
)
def test_what_cannot_be_done_is_1_with_a_reason(acme: Project, arguments: tuple[str, ...], text: str) -> None:
    result = whd(acme, "settings", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert text in result.stderr
    assert "s3cr3t" not in result.stderr


@pytest.mark.parametrize("arguments", [(), ("fly",), ("show",), ("set", "a"), ("unset",), ("set",)])
def test_wrong_usage_is_2(acme: Project, arguments: tuple[str, ...]) -> None:
    assert whd(acme, "settings", *arguments).returncode == 2


def test_a_name_is_no_glob(acme: Project) -> None:
    assert whd(acme, "settings", "show", "app.*").returncode == 1
    assert whd(acme, "settings", "set", "app.*", "1").returncode == 0
    assert listed(acme)["app.greeting"]["value"] == {"en": "hello"}
    assert whd(acme, "settings", "unset", "app.*").returncode == 0


def test_with_several_clients_a_name_alone_is_not_enough(acme: Project) -> None:
    acme.setting("other", "app.greeting", "other's")
    for arguments in (("show", "app.greeting"), ("set", "a", "1"), ("unset", "a")):
        result = whd(acme, "settings", *arguments)
        assert result.returncode == 1
        assert "--client says whose setting; there are: acme, other" in result.stderr
    row = document(whd(acme, "settings", "show", "app.greeting", "--client", "other", "--json"))
    assert row["value"] == "other's"
    rows = document(whd(acme, "settings", "list", "--json"))
    assert [(row["client"], row["name"]) for row in rows] == [
        ("acme", "app.greeting"), ("acme", "client.webhook.echo"), ("other", "app.greeting"),
    ]  # fmt: skip
    assert set(listed(acme, "--client", "other")) == {"app.greeting"}


def test_check_goes_on_without_what_it_may_not_or_cannot_read(acme: Project) -> None:
    acme.state.mkdir()
    (acme.state / "saved.sqlite").write_bytes(b"no database " * 1000)
    result = whd(acme, "check")
    assert result.returncode == 0
    assert "what flows saved was not checked" in result.stdout
    assert "damaged" in result.stdout
    result = whd(acme, "settings", "list")
    assert result.returncode == 1
    assert "move it" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_a_command_of_root_leaves_the_daemons_user_his_file(acme: Project) -> None:
    acme.state.mkdir(mode=0o700)
    os.chown(acme.state, 65534, 65534)
    assert whd(acme, "settings", "set", "a", "1").returncode == 0
    assert (acme.state / "saved.sqlite").stat().st_uid == 65534
