"""What a newcomer sees first: a checkout without a warning, a start that ends with a call, and README's own calls."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_streams import on_terminal
from tests.commands.typed import whd
from tests.running import KEY, ROOT, Project, RunningDaemon, running, wait_for
from whd.settings.webhooks import DOCUMENTED_KEYS

README = (ROOT / "README.md").read_text(encoding="utf-8")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (Debian: curl)")


@pytest.fixture(scope="module")
def checkout() -> Iterator[Project]:
    """The examples as git leaves them: files that all may read, in folders that all may enter (pytest's are closed)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("config", "flows"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            for path in (folder / part, *(folder / part).rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
        project = Project.__new__(Project)  # without a whd.yaml of the tests'
        project.folder = folder
        project.config, project.flows, project.state = (folder / each for each in ("config", "flows", "state"))
        yield project


@pytest.fixture(scope="module")
def served(checkout: Project) -> Iterator[RunningDaemon]:
    with running(checkout) as daemon:
        yield daemon


def last_lines(daemon: RunningDaemon) -> list[str]:
    """The messages that a start ends with, once they are there."""

    def messages() -> list[str]:
        found = [line.partition(" whd.daemon: ")[2] for line in daemon.log.splitlines()]
        return [line for line in found if line]

    last: list[str] = wait_for(lambda: any("webhooks" in line for line in messages()) and messages(), "the last line")
    return last[[line.startswith("whd ") for line in last].index(True) :]


def shell(line: str, **environ: str) -> str:
    """What a line for a shell prints."""
    result = subprocess.run(
        ["sh", "-c", line],
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "*", **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


# ---- warnings --------------------------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_fresh_checkout(checkout: Project, served: RunningDaemon) -> None:
    result = whd(checkout, "check")
    assert (result.returncode, result.stdout) == (0, "")
    assert "no faults" in result.stderr
    last_lines(served)
    assert [line for line in served.log.splitlines() if "warning:" in line] == []


def test_every_key_of_the_examples_is_known_as_no_secret() -> None:
    texts = [path.read_text() for path in (ROOT / "config").rglob("*.yaml")]
    keys = {
        key.encode()
        for text in [*texts, README]
        for key in re.findall(r"(?:^key|secret): ([\w-]+)", text, re.MULTILINE)
    }
    assert keys == DOCUMENTED_KEYS


@pytest.mark.parametrize("keys", ["operators-own-key", [KEY, "operators-own-key"]])
def test_a_key_of_the_operators_own_in_such_a_file_is_worth_a_warning(checkout: Project, keys: Any) -> None:
    path = checkout.webhook("myclient", "own", flow_name="signup", key=keys)
    try:
        path.chmod(0o644)
        assert "every user of this machine can read it" in whd(checkout, "check").stdout
    finally:
        path.unlink()


# ---- what a start ends with ------------------------------------------------------------------------------------------


@needs_curl
def test_a_start_ends_with_a_call_that_works_and_where_to_look_next(served: RunningDaemon) -> None:
    listens, call, ran, webhooks = last_lines(served)
    assert listens.endswith(served.addresses[0])
    record = json.loads(shell("curl -sS " + call.partition(": curl ")[2]))
    assert record["status"] == "ENDED_SUCCESS"
    assert record["output_value"]
    assert "executions list" in ran
    assert f"--state {served.project.state}" in ran
    shown = whd(served.project, "executions", "list").stdout
    assert record["webhook_name"] in shown
    assert "whd webhooks --config" in webhooks


@needs_curl
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "curl http://"),
        ({"methods": ["POST"]}, "curl -d '{}' http://"),
        ({"key": KEY}, 'curl -H "X-Webhook-Key: $KEY" http://'),
        ({"key": KEY, "methods": ["POST"]}, "curl -H \"X-Webhook-Key: $KEY\" -d '{}' http://"),
    ],
    ids=["open", "only POST", "a key", "a key, only POST"],
)
def test_each_kind_of_webhook_is_called_as_it_wants_and_no_key_is_told(
    project: Project, processes: int, fields: dict[str, Any], shown: str
) -> None:
    project.options(processes=processes)
    path = project.endpoint("only", **fields)
    project.webhook("acme", "broken", flow_name="nowhere")
    project.webhook("acme", "off", flow_name="only", enabled=False)
    with running(project) as daemon:
        call = last_lines(daemon)[1]
        assert call.startswith(f"call a webhook: {shown}{daemon.addresses[0]}{path}")
        line, _, where = call.removeprefix("call a webhook: ").partition(" (KEY: the key in ")
        assert bool(where) == ("$KEY" in line)
        if where:
            assert where.rstrip(")") == str(project.config / "acme/settings/client.webhook.only.yaml")
        assert json.loads(shell(f"{line} -sS", KEY=KEY))["status"] == "ENDED_SUCCESS"
        assert KEY not in daemon.log


@needs_curl
def test_behind_a_unix_socket_too(project: Project, tmp_path: Path) -> None:
    project.endpoint("only")
    with running(project, listen=(f"unix:{tmp_path}/a b.sock",)) as daemon:
        call = last_lines(daemon)[1]
        assert json.loads(shell(call.removeprefix("call a webhook: ")))["status"] == "ENDED_SUCCESS"


def test_where_none_can_be_called_it_says_where_to_see_why(project: Project) -> None:
    project.webhook("acme", "broken", flow_name="nowhere")
    with running(project) as daemon:
        (_, line) = last_lines(daemon)
    assert line.startswith("no webhook can be called yet")
    assert "webhooks --config" in line


@pytest.mark.parametrize("columns", [80, 120, 200])
@pytest.mark.parametrize("command", ["webhooks", "executions list", "settings list"])
def test_the_tables_that_are_seen_first_fit_the_terminal(served: RunningDaemon, columns: int, command: str) -> None:
    project = served.project
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    served.get("/api/webhook/myclient/greeting")
    shown = on_terminal([sys.executable, "-m", "whd", *command.split(), *folders], columns)
    lines = re.sub(r"\x1b\[\d+m", "", shown).splitlines()
    assert len(lines) > 1
    assert "greeting" in shown
    assert [line for line in lines if len(line) > columns or line != line.rstrip()] == []


# ---- README ----------------------------------------------------------------------------------------------------------


def without_what_differs(value: Any) -> Any:
    """The answer without ids, times and what is curl's or the machine's own."""
    if isinstance(value, dict):
        own = ("id", "execution_id", "created_at", "started_at", "ended_at", "host", "user-agent")
        return {name: "…" if name in own else without_what_differs(item) for name, item in value.items()}
    return value


@needs_curl
def test_readmes_calls_answer_as_it_shows(served: RunningDaemon) -> None:
    """Line by line as a person types them, but for the port and the execution's id."""
    section = README.split("## Two calls")[1].split("\n## ")[0]
    calls = re.findall(r"^    (curl .*)$", section, re.MULTILINE)
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]
    assert (len(calls), len(shown)) == (3, 2)

    def answer(call: str) -> Any:
        return json.loads(shell(call.replace("curl ", "curl -sS ").replace("127.0.0.1:8080", served.addresses[0])))

    sync, accepted = answer(calls[0]), answer(calls[1])
    assert without_what_differs(sync) == without_what_differs(shown[0])
    assert list(sync) == list(shown[0])
    assert sync["output_value"]["received"]
    assert without_what_differs(accepted) == without_what_differs(shown[1])
    record = answer(calls[2].replace(shown[1]["id"], accepted["id"]))
    assert (record["id"], record["status"]) == (accepted["id"], "ENDED_SUCCESS")
    assert record["output_value"] == sync["output_value"]


def test_readmes_own_client_has_no_faults_and_answers(checkout: Project, served: RunningDaemon) -> None:
    """Its setting, users and flow, copied as they stand."""
    blocks = re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", README, re.DOTALL)
    written = [checkout.write(name.replace("<client>", "shop"), text) for name, text in blocks]
    assert len(written) == 3
    try:
        result = whd(checkout, "check")
        assert (result.returncode, result.stdout) == (0, "")

        def record() -> Any:
            answer = served.post("/api/webhook/shop/signup", {"key": KEY, "name": "Ada"})
            return answer.json if answer.status == 200 else None

        assert wait_for(record, "the client")["output_value"] == {"greeting": "Hello Ada"}
    finally:
        for path in written:
            path.unlink()
