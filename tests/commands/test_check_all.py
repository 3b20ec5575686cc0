"""`whd check` finds everything that is wrong at once: no fault hides another one."""

from __future__ import annotations

import pytest

from tests.running import Project

from .typed import whd

# A way in which users.yaml is broken that leaves other users readable.
BROKEN_USERS = {
    "an unknown field": "mallory:\n  flow: [x]\n",
    "a wrong type": "mallory: 5\n",
    "a bad connection": "mallory:\n  connections: {REST: [nonsense]}\n",
    "two faults": "mallory:\n  flow: [x]\n  isolation: none\n",
    "a user twice": "mallory: {}\nmallory: {}\n",
    "a name that is none": '"": {}\nmallory: {flow: 1}\n',
}
GOOD_USERS = "kevin:\n  flows: ['*']\neve:\n  flows: [other]\n"


def checked(project: Project) -> tuple[list[str], str]:
    result = whd(project, "check")
    assert result.returncode == 1
    return result.stdout.splitlines(), result.stderr


@pytest.fixture
def faulty(project: Project) -> Project:
    """A fault or warning of every kind, each in a file of its own, beside users of whom all are good."""
    project.write("config/acme/users.yaml", GOOD_USERS)
    project.flow("acme", "fine", "def handler(system, this):\n    system.setting('app.x').get('value')\n")
    project.webhook("acme", "userless", flow_name="fine", user_name="nobody")
    project.webhook("acme", "flowless", flow_name="nowhere")
    project.webhook("acme", "barred", flow_name="fine", user_name="eve")
    project.webhook("acme", "asks", flow_name="fine", user_name="kevin")
    project.webhook("acme", "two", flow_name="nowhere2", user_name="nobody2", methods=["PUSH"])
    project.flow("acme", "refused", "def handler(system, this):\n    eval('1')\n    exec('2')\n")
    project.write("config/acme/settings/app.yaml", "a: [\n")
    project.write("config/whd.yaml", "worker: 5\nwait_s: 3\nprocesses: 1\n")
    return project


ALL = [
    ("client.webhook.userless.yaml", "nobody"),
    ("client.webhook.flowless.yaml", "nowhere"),
    ("client.webhook.barred.yaml", "warning", "eve"),
    ("fine.py:2", "warning", "app.x", "kevin"),
    ("client.webhook.two.yaml", "PUSH"),
    ("client.webhook.two.yaml", "nowhere2"),
    ("client.webhook.two.yaml", "nobody2"),
    ("refused.py:2", "eval"),
    ("refused.py:3", "exec"),
    ("app.yaml", ""),
    ("whd.yaml:1", "worker"),
]


def missing(lines: list[str]) -> list[tuple[str, ...]]:
    return [texts for texts in ALL if not any(all(text in line for text in texts) for line in lines)]


@pytest.mark.parametrize("broken", BROKEN_USERS)
def test_one_bad_user_hides_no_other_fault(faulty: Project, broken: str) -> None:
    before, _ = checked(faulty)
    assert missing(before) == []
    faulty.write("config/acme/users.yaml", GOOD_USERS + BROKEN_USERS[broken])
    after, _ = checked(faulty)
    assert [line for line in before if line not in after] == []
    new = [line for line in after if line not in before]
    assert new
    assert all("users.yaml:" in line for line in new), new


def test_of_a_user_with_faults_nothing_is_said_that_may_be_wrong(faulty: Project) -> None:
    """Neither that there is no such user nor that it may do nothing: its other fields are the fault."""
    faulty.write("config/acme/users.yaml", "kevin:\n  flows: ['*']\neve:\n  flowz: [fine]\n")
    lines, summary = checked(faulty)
    assert any("users.yaml" in line and "flowz" in line for line in lines)
    assert [line for line in lines if "client.webhook.barred.yaml" in line] == []
    assert "eve" not in summary


def test_a_daemon_still_serves_nothing_of_a_file_with_faults(project: Project) -> None:
    """What `check` reads of it is for checks alone: a webhook's state is what a call would find."""
    project.endpoint("echo")
    project.write("config/acme/users.yaml", GOOD_USERS + "mallory: 5\n")
    line = whd(project, "webhooks").stdout.splitlines()[1]
    assert "broken" in line
    assert "kevin" in line
