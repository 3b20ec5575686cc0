"""What a flow may not do is refused by permission, named, logged, and counted for the operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import Project, RunningDaemon, running, wait_for

from .outside import serve_outside
from .test_flows import Caller


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    with serve_outside() as url:
        yield url


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, outside: str) -> Iterator[RunningDaemon]:
    project = Project(tmp_path_factory.mktemp("refusals"))
    port = outside.rpartition(":")[2]
    # localhost stands there with a * only: its name fits, its address must not be reached.
    rules = [f"{outside}/*", f"http://*:{port}/*"]
    project.users("acme", {"kevin": {"flows": ["hook-*"], "connections": {"REST": rules}}})
    with running(project) as own:
        yield own


@pytest.fixture(scope="module")
def call(daemon: RunningDaemon) -> Caller:
    return Caller(daemon.project, daemon)


def refused(daemon: RunningDaemon) -> int:
    return int(daemon.ask("status")["refused_calls"])


WAYS = {
    "a setting": ("system.setting('a').get()", "user kevin may not read the setting a", "PermissionDenied"),
    "a flow": ("this.flow('other')", "user kevin may not run the flow other", "PermissionDenied"),
    "a file": ("system.file('a').save(content='')", "user kevin may not write the file a", "PermissionDenied"),
    "a URL": ("this.task('REST', url='http://192.0.2.1/')", "may not connect to http://192.0.2.1/", "PermissionDenied"),
    "a scheme": (
        "this.task('REST', url='file:///etc/passwd')",
        "scheme must be https or http, not file",
        "InvalidInputError",
    ),
    "an address": (
        "this.task('REST', url='BASE/joke'.replace('127.0.0.1', 'localhost'))",
        "PermissionDenied: user kevin may not connect to http://localhost:",
        "DependencyFailedError",
    ),
    "a redirect": (
        "this.task('REST', url='BASE/elsewhere')",
        "PermissionDenied: user kevin may not connect to http://127.0.0.1:",
        "DependencyFailedError",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_is_named_logged_and_counted(call: Caller, daemon: RunningDaemon, outside: str, way: str) -> None:
    body, words, kind = WAYS[way]
    before = refused(daemon)
    record: Any = call(body.replace("BASE", outside))
    assert record["status"] == "ENDED_ERROR"
    last = record["message"].splitlines()[-1]
    assert last.startswith(f"flow_api.{kind}: ")
    assert words in last
    if kind == "InvalidInputError":
        assert refused(daemon) == before  # nobody had to be asked
        return
    assert refused(daemon) == before + 1
    # The log is written by a thread of its own, behind the answer.
    wait_for(lambda: words.removeprefix("PermissionDenied: ") in daemon.log, "the refusal in the log")


def test_an_address_that_is_refused_says_which_and_what_would_allow_it(call: Caller, outside: str) -> None:
    message = call(f"this.task('REST', url='{outside}/elsewhere')")["message"]
    assert "localhost has the address 127.0.0.1, which is refused (loopback)" in message or "::1" in message
    assert "connections must name localhost without a *" in message
