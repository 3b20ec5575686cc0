"""What is nearly right is told apart: to the caller what is no secret, to the operator's log what is one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.running import ROOT, Project, RunningDaemon, running, wait_for

PLUS_KEY = "a+b c"


@pytest.fixture(scope="module")
def daemon(shared_project: Project) -> Iterator[RunningDaemon]:
    shared_project.endpoint("open")
    shared_project.endpoint("locked", key=PLUS_KEY)
    shared_project.endpoint("off", enabled=False)
    shared_project.endpoint("broken", methods=[])
    with running(shared_project) as started:
        yield started


SLASH = "the path ends with a slash"


@pytest.mark.parametrize("name", ["open", "locked", "broken"])
@pytest.mark.parametrize("prefix", ["/api", "/api/1", "/api/latest"])
@pytest.mark.parametrize("end", ["/", "//", "/?key=x"])
def test_a_slash_behind_a_webhook_is_named_with_the_path_that_is_right(
    daemon: RunningDaemon, name: str, prefix: str, end: str
) -> None:
    path = f"{prefix}/webhook/acme/{name}"
    answer = daemon.post(path + end, {})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert SLASH in answer.json["detail"]
    assert f"it is {path} without" in answer.json["detail"]


@pytest.mark.parametrize("path", ["/healthz/", "/readyz/", "/api/execution/acme/0198/"])
def test_so_is_one_behind_other_routes(daemon: RunningDaemon, path: str) -> None:
    assert f"it is {path.rstrip('/')} without" in daemon.get(path).json["detail"]


@pytest.mark.parametrize(
    "path", ["acme/none/", "acme/off/", "none/open/", "acme/", "acme/open/more/", "acme/open%2F", "acme/%6Eone/"]
)
def test_nothing_is_said_of_what_is_not_there(daemon: RunningDaemon, path: str) -> None:
    """No more than the same path without the slash says."""
    assert daemon.get(f"/api/webhook/{path}").json == daemon.get("/nowhere").json


@pytest.mark.parametrize("path", ["/", "//", "/api/", "/api/webhook/"])
def test_other_paths_that_end_with_a_slash_are_just_not_there(daemon: RunningDaemon, path: str) -> None:
    assert daemon.get(path).json == daemon.get("/nowhere").json


def test_a_plus_in_a_key_is_named_in_the_log_and_nowhere_else(daemon: RunningDaemon) -> None:
    ordinary = daemon.post("/api/webhook/acme/locked?key=wrong", {})
    before = daemon.log.count("%2B")
    pasted = daemon.post("/api/webhook/acme/locked?key=a+b%20c", {})
    assert (pasted.status, pasted.body) == (401, ordinary.body)
    wait_for(lambda: daemon.log.count("%2B") > before, "the hint")
    hint = [line for line in daemon.log.splitlines() if "%2B" in line][-1]
    assert "401 invalid_key" in hint
    assert "acme/locked" in hint
    assert PLUS_KEY not in daemon.log
    assert "a+b%20c" not in daemon.log
    assert daemon.post("/api/webhook/acme/locked?key=a%2Bb+c", {}).status == 200


def test_so_it_is_where_a_status_is_asked_for(daemon: RunningDaemon) -> None:
    record = daemon.post("/api/webhook/acme/locked?key=a%2Bb+c", {}).json
    before = daemon.log.count("%2B")
    assert daemon.get(f"/api/execution/acme/{record['id']}?key=a+b%20c").status == 401
    wait_for(lambda: daemon.log.count("%2B") > before, "the hint")


def warnings(daemon: RunningDaemon) -> list[str]:
    """The lines of the log that are not about the start, which goes on while the first calls are answered."""
    return [line for line in daemon.log.splitlines() if " INFO " not in line]


def test_a_plus_in_a_key_that_is_wrong_anyhow_is_not_worth_a_line(daemon: RunningDaemon) -> None:
    before = warnings(daemon)
    for query in ("key=x+y", "other=a+b", "key=a+b+c", "+"):
        assert daemon.post(f"/api/webhook/acme/locked?{query}", {}).status == 401
    assert daemon.get("/healthz").status == 200
    assert warnings(daemon) == before


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
        ("https://localhost:8443/api?x#y", "localhost:8443"),
        ("http://localhost", "localhost:80"),
        ("https://hooks.example.com", "hooks.example.com:443"),
        ("http://[::1]:80/", "[::1]:80"),
        ("tcp://0.0.0.0:80", "0.0.0.0:80"),
        ("http://user@host:80", "host:80"),
        ("localhost", ""),
        (":8080", ""),
        ("http://:99999", ""),
        ("http://", ""),
    ],
)
def test_an_address_that_is_a_url_names_the_right_form(project: Project, given: str, meant: str) -> None:
    """As an option of the command, which names it, and in whd.yaml, with its line."""
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    commands = {2: ["serve", "--listen", given, *folders], 1: ["check", *folders]}
    project.options(listen=given)
    for status, command in commands.items():
        result = subprocess.run(
            [sys.executable, "-m", "whd", *command], cwd=ROOT, capture_output=True, text=True, check=False
        )
        printed = result.stdout + result.stderr
        assert result.returncode == status
        assert "HOST:PORT" in printed
        assert ("did you mean" in printed) == bool(meant)
        assert f"did you mean {meant}?" in printed or not meant
        assert ("is a URL" in printed) == ("://" in given)
