"""`whd run` for people: the log as it comes, the answer that a caller would get, tracebacks that can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.running import ROOT, Project, running

from .typed import document, whd

FAILING = """
def helper(given):
    return given['nope']

def handler(system, this):
    this.log('before', n=1)
    print('printed')
    this.set_output('so_far', 'Grüße')
    helper({})
"""
SHOWS_INPUT = """
def handler(system, this, inputs):
    this.set_output(inputs)
"""


@pytest.fixture(params=["with a daemon", "with two fronts", "without a daemon"])
def either(request: pytest.FixtureRequest, project: Project) -> Any:
    """Commands do the same whether a daemon runs or not, and however many processes it has."""
    project.endpoint("fails", FAILING)
    project.endpoint("shown", SHOWS_INPUT, flow_name="shows input")
    project.flow("acme", "child", SHOWS_INPUT)
    if request.param == "without a daemon":
        yield project
        return
    project.options(processes=2 if "two" in request.param else 1)
    with running(project):
        yield project


def run(project: Project, flow: str, *more: str) -> Any:
    return whd(project, "run", "acme", flow, "--user", "kevin", *more)


def test_a_failure_is_a_traceback_of_the_flows_own_lines(either: Project) -> None:
    result = run(either, "fails")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert [line.split(" ", 2)[2] for line in lines[:2]] == ["before n=1", "printed"]
    assert lines[2].startswith("ENDED_ERROR after ")
    assert lines[3:] == [
        "Traceback (most recent call last):",
        '  File "flows/acme/fails.py", line 9, in handler',
        "    helper({})",
        '  File "flows/acme/fails.py", line 3, in helper',
        "    return given['nope']",
        "KeyError: 'nope'",
        "{",
        '  "so_far": "Grüße"',
        "}",
    ]
    (row,) = document(whd(either, "executions", "list", "--json"))
    assert f"executions show {row['id']} --config" in result.stderr


def test_without_input_a_flow_gets_what_an_empty_post_gives_it(either: Project) -> None:
    record = document(run(either, "shows input", "--json"))
    expected: dict[str, Any] = {
        "method": "POST",
        "path": "/api/webhook/acme/shown",
        "query": {},
        "headers": {},
        "json": None,
    }
    assert record["input_value"] == record["output_value"] == expected
    # Of a flow that no webhook names.
    assert document(run(either, "child", "--json"))["input_value"] == {**expected, "path": "/api/webhook/acme/child"}
    # What is given is given, and null is something.
    assert document(run(either, "child", "--json", "--input", '{"a": 1}'))["input_value"] == {"a": 1}
    assert document(run(either, "child", "--json", "--input", "null"))["input_value"] is None


def test_that_is_what_a_post_gives(project: Project) -> None:
    """But for the headers that every client sends."""
    path = project.endpoint("shown", SHOWS_INPUT)
    with running(project) as daemon:
        posted = daemon.post(path).json["input_value"]
        ran = document(run(project, "shown", "--json"))["input_value"]
    assert {**posted, "headers": {}} == ran


def test_a_child_without_inputs_gets_an_empty_object(project: Project) -> None:
    project.flow("acme", "child", SHOWS_INPUT)
    source = "def handler(system, this):\n    this.set_output('child', this.flow('child').get('input_value'))\n"
    project.flow("acme", "parent", source)
    assert document(run(project, "parent", "--json"))["output_value"] == {"child": {}}


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (
            "webhook_html_response('<p>ü</p>')",
            ["HTTP 200 OK", "content-type: text/html; charset=utf-8", "", "<p>ü</p>"],
        ),
        (
            "webhook_json_response([1], status=418, headers={'X-A': 'b'})",
            ["HTTP 418 I'm a Teapot", "x-a: b", "content-type: application/json", "", "[1]"],
        ),
        ("webhook_response(b'\\xff', status=599)", ["HTTP 599", "(no text; in base64) /w=="]),
    ],
)
def test_the_flows_own_answer_is_shown_as_its_caller_gets_it(project: Project, call: str, shown: list[str]) -> None:
    project.flow("acme", "answers", f"def handler(system, this):\n    return this.{call}\n")
    lines = run(project, "answers").stdout.splitlines()
    assert [line for line in shown if line not in lines] == []
    assert "script" not in run(project, "answers").stdout


def test_the_log_comes_while_the_flow_runs(project: Project) -> None:
    """The line is there before the flow has ended, which waits for the test to have read it."""
    source = (
        "def handler(system, this):\n    this.log('first')\n"
        "    while not system.setting('app.go').exists():\n        this.sleep(0.05)\n    this.log('last')\n"
    )
    project.flow("acme", "slow", source)
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    with running(project):
        command = [sys.executable, "-m", "whd", "run", "acme", "slow", "--user", "kevin", *folders]
        with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().rstrip().endswith("first")
            project.setting("acme", "app.go", 1)
            assert process.stdout.readline().rstrip().endswith("last")
            assert process.stdout.readline().startswith("ENDED_SUCCESS")
        assert process.returncode == 0


# ---- which executions are a webhook's --------------------------------------------------------------------------------


@pytest.fixture
def several(project: Project) -> Any:
    """Executions of two webhooks of one name, of a child, and of a flow that was run by hand."""
    project.users("other", {"kevin": {"flows": ["*"]}})
    child = "def handler(system, this):\n    this.flow('child')\n"
    paths = [project.endpoint("order", child, flow_name="take order"), project.endpoint("order", client="other")]
    project.flow("acme", "child", SHOWS_INPUT)
    with running(project) as daemon:
        for path in paths:
            assert daemon.post(path, {}).status == 200
        run(project, "child")
        yield project


@pytest.mark.parametrize("machine", [True, False])
def test_what_a_row_shows_as_its_webhook_finds_the_row(several: Project, machine: bool) -> None:
    rows = document(whd(several, "executions", "list", "--json"))
    assert sorted(row["webhook_name"] or "-" for row in rows) == ["-", "-", "order", "order"]
    table = [line.split()[:3] for line in whd(several, "executions", "list").stdout.splitlines()[1:]]
    assert [[row["id"], row["client_name"], row["webhook_name"] or "-"] for row in rows] == table

    def found(*arguments: str) -> list[str]:
        if machine:
            return [row["id"] for row in document(whd(several, "executions", "list", "--json", *arguments))]
        return [line.split()[0] for line in whd(several, "executions", "list", *arguments).stdout.splitlines()[1:]]

    of_both = [row["id"] for row in rows if row["webhook_name"] == "order"]
    of_acme = [row["id"] for row in rows if row["webhook_name"] == "order" and row["client_name"] == "acme"]
    assert found("--webhook", "order") == found("--webhook", "client.webhook.order") == of_both
    for name in ("acme/order", "/api/webhook/acme/order", "/api/webhook/acme/order/", "acme/client.webhook.order"):
        assert found("--webhook", name) == of_acme
    assert found("--webhook", "order", "--client", "acme") == of_acme
    # Not a webhook's, whatever the flow is called.
    assert found("--webhook", "child") == found("--webhook", "take order") == []


def test_two_clients_at_once_are_refused(several: Project) -> None:
    result = whd(several, "executions", "list", "--webhook", "acme/order", "--client", "other")
    assert result.returncode == 1
    assert "acme" in result.stderr
