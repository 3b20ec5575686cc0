"""docs/senders.md: its table is the presets', its settings have no fault, its shell lines are accepted."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.running import Project, RunningDaemon, running, simple_project
from whd.model.options import Options
from whd.settings.webhooks import derive_webhook, read_webhook

from .table import sender_rows

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "senders.md").read_text(encoding="utf-8")
SETTINGS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SCRIPTS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
FLOW = """
def handler(system, this):
    return this.success('got it')
"""


def test_the_table_is_the_presets() -> None:
    table = PAGE.split("<!-- senders -->")[1].split("<!-- /senders -->")[0].strip()
    assert table.splitlines() == sender_rows()


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_have_no_fault(text: str) -> None:
    source, faults = read_webhook(text, "w.yaml", "acme", "x")
    assert source is not None, faults
    webhook, warnings = derive_webhook(source, Options(), lambda: 0.0)
    assert (webhook.name, faults, warnings) == ("x", (), ())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return simple_project(tmp_path_factory.mktemp("senders-docs"))


@pytest.fixture(scope="module")
def daemon(project: Project) -> Iterator[RunningDaemon]:
    for number, text in enumerate(SETTINGS[: len(SCRIPTS)]):
        value = yaml.safe_load(text)
        project.endpoint(
            f"hook-{number}", FLOW, **{name: value[name] for name in value if name in ("verify", "ack", "answer")}
        )
    with running(project) as daemon:
        yield daemon


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_curl_and_openssl_are_a_sender(daemon: RunningDaemon, number: int) -> None:
    secret = yaml.safe_load(SETTINGS[number])["verify"]["secret"]
    for given, statuses in ((secret, ("200", "202")), ("another", ("401",))):
        environ = {**os.environ, "SECRET": given, "URL": f"http://{daemon.addresses[0]}/api/webhook/acme/hook-{number}"}
        script = SCRIPTS[number].replace("curl -d", "curl -s -w ' %{http_code}' -d")
        done = subprocess.run(["bash", "-ec", script], env=environ, capture_output=True, text=True, check=False)
        assert done.stdout.endswith(statuses), (done.stdout, done.stderr)
