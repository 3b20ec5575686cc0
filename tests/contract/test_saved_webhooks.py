"""No flow lends itself another user's rights by saving a webhook: each way of trying, through a running daemon.

kevin, who tries, may write client.webhook.k-* and act as robot. admin, whose rights he wants, reads the secret.
The bounds themselves, with every case, are in tests/settings/test_saved.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import Project, RunningDaemon, running, wait_for

from .test_flows import Caller, flow

USERS: dict[str, Any] = {
    "kevin": {
        "flows": ["hook-*", "who", "setter"],
        "settings": {"read": ["app.*"], "write": ["app.*", "client.webhook.k-*", "client.webhook.file"]},
        "act_as": ["robot"],
    },
    # It could pass its rights on, but what it may do is no reason to let kevin do it.
    "robot": {"flows": ["who"], "act_as": ["admin"]},
    "admin": {"flows": ["*"], "settings": {"read": ["*", "client.webhook.*"], "write": ["*", "client.webhook.*"]}},
    "alone": {"flows": ["hook-*", "who"], "settings": {"write": ["*", "client.webhook.k-*"]}, "isolation": "execution"},
}

WHO = flow("this.set_output(who=system.get_own_user().get('name'), id=this.get('id'))")
SETTER = flow("system.setting(this.get('input_value')['name']).save(value=this.get('input_value')['value'])")


def hook(user_name: str, **fields: Any) -> dict[str, Any]:
    return {"flow_name": "who", "user_name": user_name, **fields}


def make_project(folder: Path) -> Project:
    project = Project(folder)
    project.users("acme", USERS)
    project.flow("acme", "who", WHO)
    project.flow("acme", "setter", SETTER)
    project.setting("acme", "secret", "s3cr3t")
    project.webhook("acme", "file", flow_name="who", user_name="admin", key="k", max_calls=7)
    return project


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    project = make_project(tmp_path_factory.mktemp("lending"))
    project.options(timeout_s=3)
    with running(project) as daemon:
        yield Caller(project, daemon)


def saves(name: str, value: Any) -> str:
    return f"system.setting('client.webhook.{name}').save(value={value!r})"


def answer_of(daemon: RunningDaemon, name: str, **kwargs: Any) -> Any:
    return daemon.post(f"/api/webhook/acme/{name}", **kwargs)


# ---- what is refused at once -----------------------------------------------------------------------------------------

ACT_AS = "PermissionDenied: user kevin may not act as "
WRITE = "PermissionDenied: user kevin may not write the setting client.webhook."

_FILE = "PermissionDenied: user kevin may not write the setting client.webhook.file: it is an operator's webhook file"
REFUSED: dict[str, tuple[str, str]] = {
    "another user": (saves("k-a", hook("admin")), f"{ACT_AS}admin"),
    "a user who does not exist": (saves("k-a", hook("nobody")), f"{ACT_AS}nobody"),
    "a glob": (saves("k-a", hook("*")), f"{ACT_AS}*"),
    "another case": (saves("k-a", hook("Robot")), f"{ACT_AS}Robot"),
    "a space": (saves("k-a", hook("robot ")), f"{ACT_AS}robot "),
    "the user that one's own may act as": (saves("k-a", hook("admin", flow_name="setter")), f"{ACT_AS}admin"),
    "at once": (f"system.setting('client.webhook.k-a', value={hook('admin')!r})", f"{ACT_AS}admin"),
    "by name": (f"system.setting(name='client.webhook.k-a', value={hook('admin')!r})", f"{ACT_AS}admin"),
    "in a child": (
        f"this.flow('setter', {{'name': 'client.webhook.k-a', 'value': {hook('admin')!r}}})",
        f"{ACT_AS}admin",
    ),
    "a webhook of another name": (saves("other", hook("kevin")), f"{WRITE}other"),
    "an operator's, with its user": (saves("file", hook("admin")), _FILE),
    "an operator's, with one's own": (saves("file", hook("kevin")), _FILE),
    "deleting an operator's": ("system.setting('client.webhook.file').delete()", "ResourceNotFoundError: no value"),
    "deleting another's": ("system.setting('client.webhook.other').delete()", f"{WRITE}other"),
    "a list in its place": ("system.setting('client.webhook.k-a').save(value=[])", "InvalidInputError: client."),
    "appending to an operator's": ("system.setting('client.webhook.file').list_append(1)", "InvalidInputError: the"),
    "appending to none": ("system.setting('client.webhook.k-none').list_append(1)", "ResourceNotFoundError: there is"),
    "reading an operator's key": ("system.setting('client.webhook.file').get()", "PermissionDenied: user kevin"),
    "locking another's": ("system.setting('client.webhook.other').acquire()", f"{WRITE}other"),
    "no user": ("system.setting('client.webhook.k-a').save(value={'flow_name': 'who'})", "InvalidInputError: client."),
    "a user that is a list": (saves("k-a", {"flow_name": "who", "user_name": ["admin"]}), "InvalidInputError: client."),
    "an empty key": (saves("k-a", hook("kevin", key="")), "InvalidInputError: client.webhook.k-a: key: is empty"),
    "a key that is no text": (saves("k-a", hook("kevin", key=7)), "InvalidInputError: client.webhook.k-a: key: is a"),
    "a field more": (saves("k-a", hook("kevin", saver="admin")), "InvalidInputError: client.webhook.k-a: saver: "),
    "an isolation that there is not": (saves("k-a", hook("kevin", isolation="none")), "InvalidInputError: client."),
    "a name past the pattern": (saves("k-a b", hook("kevin")), "InvalidInputError: the setting's name "),
    "a path in the name": (saves("k-/../file", hook("kevin")), "InvalidInputError: the setting's name "),
    "a line break in the name": (saves("k-a\\n", hook("kevin")), "InvalidInputError: the setting's name "),
}  # fmt: skip


@pytest.mark.parametrize("way", REFUSED)
def test_what_is_past_the_bounds_is_refused(call: Caller, way: str) -> None:
    body, words = REFUSED[way]
    record = call(body)
    assert record["status"] == "ENDED_ERROR", record
    assert record["message"].splitlines()[-1].startswith(f"flow_api.{words}")
    assert answer_of(call.daemon, "k-a").status == 404
    # The operator's own stands as it was.
    assert answer_of(call.daemon, "file").status == 401
    assert answer_of(call.daemon, "file?key=k").json["user_name"] == "admin"


# ---- what is allowed, and no more ------------------------------------------------------------------------------------


def saved(call: Caller, name: str, value: Any, user_name: str = "kevin") -> None:
    record = call(saves(name, value), user_name=user_name)
    assert record["status"] == "ENDED_SUCCESS", record["message"]


def test_a_saved_webhook_runs_as_the_user_that_it_names(call: Caller) -> None:
    for user_name in ("kevin", "robot"):
        saved(call, f"k-{user_name}", hook(user_name))
        assert answer_of(call.daemon, f"k-{user_name}").json["output_value"]["who"] == user_name


def test_the_flow_is_one_that_its_user_may_run(call: Caller) -> None:
    """robot may not run what kevin may."""
    saved(call, "k-flow", {"flow_name": "setter", "user_name": "robot"})
    answer = answer_of(call.daemon, "k-flow")
    assert (answer.status, answer.json["code"]) == (403, "forbidden")


def test_limits_are_not_raised(call: Caller) -> None:
    """They are what the daemon's options say, whatever higher number is saved; a lower one counts."""
    body = flow("for n in range(10):\n    system.setting('app.none').exists()\nthis.sleep(30)")
    saved(call, "k-limits", {"flow_name": "hook-greedy", "user_name": "kevin", "timeout_s": 10**6, "max_calls": 3})
    call.project.flow("acme", "hook-greedy", body)
    wait_for(lambda: answer_of(call.daemon, "k-limits").status == 500, "the flow")
    assert "max_calls: more than 3 requests" in answer_of(call.daemon, "k-limits").json["message"]
    saved(call, "k-limits", {"flow_name": "hook-greedy", "user_name": "kevin", "timeout_s": 10**6, "wait_s": 10**6})
    answer = answer_of(call.daemon, "k-limits")
    # This daemon's timeout_s is 3: else the caller would wait for 30 s.
    assert (answer.status, answer.json["message"]) == (504, "timeout_s: the execution reached its limit of 3 s")


def test_a_key_is_asked_for_and_never_told(call: Caller) -> None:
    saved(call, "k-key", hook("kevin", key="very-own-key"))
    assert answer_of(call.daemon, "k-key").status == 401
    answer = answer_of(call.daemon, "k-key", headers={"X-Webhook-Key": "very-own-key"})
    assert answer.status == 200
    assert b"very-own-key" not in answer.body
    assert "very-own-key" not in call.daemon.log
    assert "very-own-key" not in json.dumps(call.daemon.ask("settings.list", client="acme"))


# ---- the bounds hold at every reload ---------------------------------------------------------------------------------


def without(path: str) -> Callable[[dict[str, Any]], None]:
    """Takes a right from kevin."""

    def take(users: dict[str, Any]) -> None:
        if path == "settings.write":
            users["kevin"]["settings"]["write"] = ["app.*", "*", "client.webhook.other-*"]
        else:
            del users["kevin"][path]

    return take


def renamed(users: dict[str, Any]) -> None:
    users["kevin2"] = users.pop("kevin")


def removed(users: dict[str, Any]) -> None:
    del users["kevin"]


CHANGES = {
    "act_as is withdrawn": without("act_as"),
    "the right to write it is withdrawn": without("settings.write"),
    "the saver is renamed": renamed,
    "the saver is removed": removed,
}


@pytest.mark.parametrize("change", CHANGES)
def test_past_the_bounds_it_answers_503_until_they_hold_again(tmp_path: Path, change: str) -> None:
    project = make_project(tmp_path)
    users: dict[str, Any] = json.loads(json.dumps(USERS))
    CHANGES[change](users)

    def status(daemon: RunningDaemon) -> int:
        return int(answer_of(daemon, "k-a").status)

    with running(project) as daemon:
        call = Caller(project, daemon)
        saved(call, "k-a", hook("robot"))
        assert status(daemon) == 200
        project.users("acme", users)
        wait_for(lambda: status(daemon) == 503, "503")
        assert answer_of(daemon, "k-a").json["code"] == "misconfigured"
        faults = daemon.ask("status")["faults"]
        assert [fault for fault in faults if "client.webhook.k-a (saved by kevin)" in fault and "answers 503" in fault]
    # A start is a reload too.
    with running(project) as daemon:
        assert status(daemon) == 503
        project.users("acme", USERS)
        wait_for(lambda: status(daemon) == 200, "200")
        assert answer_of(daemon, "k-a").json["output_value"]["who"] == "robot"


def test_an_operators_webhook_that_appears_takes_the_name_back(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with running(project) as daemon:
        call = Caller(project, daemon)
        saved(call, "k-a", hook("kevin"))
        path = project.webhook("acme", "k-a", flow_name="who", user_name="admin", key="new-key")
        wait_for(lambda: answer_of(daemon, "k-a").status == 503, "503")
        record = call("system.setting('client.webhook.k-a').delete()")
        assert record["status"] == "ENDED_SUCCESS", record["message"]
        assert answer_of(daemon, "k-a").status == 401
        assert answer_of(daemon, "k-a?key=new-key").json["user_name"] == "admin"
        path.unlink()
        wait_for(lambda: answer_of(daemon, "k-a").status == 404, "404")


def test_isolation_is_not_weakened(tmp_path: Path) -> None:
    """The user's own and the daemon's stand whatever the webhook says: no process serves twice."""
    project = make_project(tmp_path)
    with running(project) as daemon:
        call = Caller(project, daemon)
        saved(call, "k-alone", hook("alone", isolation="user"), user_name="alone")
        before = daemon.ask("status")["workers"]["forked"]
        for _ in range(5):
            assert answer_of(daemon, "k-alone").status == 200
        wait_for(lambda: daemon.ask("status")["workers"]["forked"] >= before + 5, "a process for each")
