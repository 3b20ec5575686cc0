"""`whd webhooks` says `on` where a call would run, and else why not: as the caller itself finds it."""

from __future__ import annotations

import pytest

from tests.running import Project, running, wait_for

from .typed import document, whd

# webhook: (the answer to a call, state, what the reason names)
EXPECTED = {
    "good": (200, "on", ""),
    "posted": (200, "on", ""),
    "off": (404, "off", "enabled"),
    "unread": (503, "broken", "client.webhook.unread.yaml"),
    "userless": (503, "broken", "nobody"),
    "flowless": (503, "broken", "nowhere"),
    "barred": (403, "broken", "eve"),
    "refused": (503, "broken", "refused.py:2"),
    "torn": (503, "broken", "torn.py:1"),
}


@pytest.fixture
def mixed(project: Project) -> Project:
    project.users("acme", {"kevin": {"flows": ["*"]}, "eve": {"flows": ["other"]}})
    project.endpoint("good")
    project.endpoint("posted", methods=["POST"], key="k")
    project.endpoint("off", enabled=False)
    project.endpoint("unread", methods=[])
    project.endpoint("userless", user_name="nobody")
    project.webhook("acme", "flowless", flow_name="nowhere")
    project.endpoint("barred", user_name="eve")
    project.endpoint("refused", "def handler(system, this):\n    eval('1')\n")
    project.endpoint("torn", "def handler(system, this\n")
    return project


def states(project: Project) -> dict[str, tuple[str, str]]:
    rows = document(whd(project, "webhooks", "--json"))
    return {row["webhook"]: (row["state"], row["why_not"] or "") for row in rows}


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_a_webhook_is_on_exactly_where_a_call_runs(mixed: Project, processes: int) -> None:
    """Without a daemon, with one process and with several."""

    def check() -> None:
        found = states(mixed)
        assert set(found) == set(EXPECTED)
        for name, (status, state, named) in EXPECTED.items():
            assert found[name][0] == state
            why = found[name][1]
            assert named in why
            assert why.startswith("" if state == "on" else f"{status}: "), why
        table = {line.split()[0].rpartition("/")[2]: line for line in whd(mixed, "webhooks").stdout.splitlines()[1:]}
        for name, (_, state, named) in EXPECTED.items():
            assert f" {state}" in table[name]
            assert named in table[name]

    if not processes:
        check()
        return
    mixed.options(processes=processes)
    with running(mixed) as daemon:
        for name, (status, _, _) in EXPECTED.items():
            assert daemon.post(f"/api/webhook/acme/{name}?key=k", {}).status == status, name
        check()


def test_with_a_daemon_it_is_what_the_daemon_serves(mixed: Project) -> None:
    """A broken file keeps its last good version since the start, and a call of that runs."""
    with running(mixed) as daemon:
        mixed.webhook("acme", "good", methods=[])
        mixed.flow("acme", "posted", "def handler(system, this\n")
        wait_for(lambda: len(daemon.ask("status")["faults"]) >= 7, "the faults")
        assert daemon.post("/api/webhook/acme/good", {}).status == 200
        assert daemon.post("/api/webhook/acme/posted?key=k", {}).status == 200
        assert states(mixed)["good"] == states(mixed)["posted"] == ("on", "")
    assert {states(mixed)[name][0] for name in ("good", "posted")} == {"broken"}


@pytest.mark.parametrize(
    ("listen", "base"),
    [("127.0.0.1:1234", "http://127.0.0.1:1234"), ("0.0.0.0:1234", "http://127.0.0.1:1234"),
     ("[::]:1234", "http://[::1]:1234"), ("localhost:1234", "http://localhost:1234"),
     ("unix:/run/x.sock", "http://localhost")],
)  # fmt: skip
def test_the_url_can_be_called(project: Project, listen: str, base: str) -> None:
    project.options(listen=[listen])
    project.endpoint("echo")
    (row,) = document(whd(project, "webhooks", "--json"))
    assert row["url"] == f"{base}/api/webhook/acme/echo"
    table = whd(project, "webhooks").stdout
    assert ("unix:/run/x.sock" in table) == listen.startswith("unix:")
