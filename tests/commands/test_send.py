"""`whd send`: what a sender would send, signed, and what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.contract.test_webhooks import INPUT_FLOW, live
from tests.running import ROOT, Project, RunningDaemon, running, simple_project

SECRET = "a-Secret-of-ours-0123"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = simple_project(tmp_path_factory.mktemp("send"))
    project.endpoint("hook", INPUT_FLOW, verify={"scheme": "github", "secret": SECRET})
    project.endpoint("keyed", INPUT_FLOW, verify={"scheme": "stripe", "secret": SECRET}, key="a-key-of-the-webhook")
    project.endpoint(
        "twilio", INPUT_FLOW, verify={"scheme": "twilio", "secret": SECRET, "url": "https://a.example/x?y=1"}
    )
    project.endpoint("plain", INPUT_FLOW)
    return project


@pytest.fixture(scope="module")
def daemon(project: Project) -> Iterator[RunningDaemon]:
    with running(project) as daemon:
        live(daemon, "/api/webhook/acme/plain")
        yield daemon


def whd_send(project: Project, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    folders = (f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state"))
    command = [sys.executable, "-m", "whd", "send", *arguments, *folders]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, timeout=60)


def sent(project: Project, *arguments: str, stdin: str = "") -> dict[str, object]:
    """What the flow got."""
    result = whd_send(project, *arguments, "--yes", "--json", stdin=stdin)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["status"] == 200
    value: dict[str, object] = json.loads(answer["body"])["input_value"]
    return value


def test_a_sample_of_the_webhooks_own_sender_is_signed_with_its_own_secret(
    project: Project, daemon: RunningDaemon
) -> None:
    value = sent(project, "acme", "hook")
    assert value["headers"]["x-github-event"] == "push"  # type: ignore[index]
    assert value["json"]["ref"] == "refs/heads/main"  # type: ignore[index]
    issue = sent(project, "acme", "hook", "--event", "issues", "--as", "github")
    assert issue["json"]["issue"]["number"] == 7  # type: ignore[index]


@pytest.mark.parametrize("webhook", ["keyed", "twilio"])
def test_key_and_registered_url_are_thought_of(project: Project, daemon: RunningDaemon, webhook: str) -> None:
    assert sent(project, "acme", webhook)
    shown = whd_send(project, "acme", webhook, "--yes")
    assert "a-key-of-the-webhook" not in shown.stdout + shown.stderr


def test_a_body_of_ones_own(project: Project, daemon: RunningDaemon) -> None:
    assert sent(project, "acme", "hook", "--body", '{"mine": 1}')["json"] == {"mine": 1}
    assert sent(project, "acme", "hook", "--body", "@-", stdin='{"mine": 2}')["json"] == {"mine": 2}


def test_a_wrong_secret_shows_the_refusal(project: Project, daemon: RunningDaemon) -> None:
    result = whd_send(project, "acme", "hook", "--secret-file", "-", "--yes", stdin="another\n")
    assert result.returncode == 1
    assert "401 Unauthorized" in result.stdout
    assert "no secret matches" in result.stdout


def test_nothing_is_sent_without_a_yes(project: Project, daemon: RunningDaemon) -> None:
    result = whd_send(project, "acme", "hook")
    assert (result.returncode, "--yes" in result.stderr) == (2, True)
    assert "X-Hub-Signature-256: sha256=" in result.stdout


def test_the_curl_line_is_one_that_works(project: Project, daemon: RunningDaemon) -> None:
    result = whd_send(project, "acme", "keyed", "--print", "curl")
    assert "a-key-of-the-webhook" not in result.stdout
    script = "KEY=a-key-of-the-webhook; " + result.stdout.replace("curl ", "curl -s ", 1)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["status"] == "ENDED_SUCCESS", done


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("acme", "hook", "--as", "githup"), "did you mean github?"),
        (("acme", "hook", "--event", "x"), "there are: push, push-form, ping, issues"),
        (("acme", "plain"), "--as NAME says who sends"),
        (("acme", "plain", "--as", "github"), "--secret-file names a file"),
        (("acme", "gone"), "has no webhook gone that could be called; it has: hook, keyed, plain, twilio"),
        (("other", "hook"), "there is no client other; there are: acme"),
        (("acme", "hook", "--body", "@/nowhere"), "--body: /nowhere: No such file or directory"),
    ],
)
def test_what_cannot_be_sent_is_named(
    project: Project, daemon: RunningDaemon, arguments: tuple[str, ...], what: str
) -> None:
    result = whd_send(project, *arguments, "--yes")
    assert result.returncode in (1, 2)
    assert what in result.stderr
