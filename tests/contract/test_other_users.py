"""Root's commands beside a daemon that is another user's: what they leave can be used by it, or it says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.running import ROOT, Project, RunningDaemon, running, simple_project, wait_for
from tests.sandbox.isolation.walled import as_user
from whd.ownership import group_name, user_name

NOBODY = 65534
AS_NOBODY = tuple(as_user(NOBODY, []))
OK_FLOW = "def handler(system, this):\n    return this.success('fine')\n"


def can_be_another() -> bool:
    tried = subprocess.run([*AS_NOBODY, sys.executable, "-c", "import whd"], cwd=ROOT, check=False, capture_output=True)
    return tried.returncode == 0


pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root is another user at will"),
]


@pytest.fixture
def project() -> Iterator[Project]:
    """A project of nobody's, where nobody may go: tmp_path is root's alone."""
    if not can_be_another():
        pytest.skip("another user cannot run this interpreter")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        project = simple_project(folder)
        project.endpoint("fine", OK_FLOW)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        yield project


def whd(project: Project, *command: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    return subprocess.run(
        [*prefix, sys.executable, "-m", "whd", *command, *folders],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )


def owners(folder: Path) -> set[int]:
    return {path.stat().st_uid for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("has_folder", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        ("run", "acme", "fine", "--user", "kevin"),
        ("executions", "list"),
        ("settings", "set", "--client", "acme", "app.x", "1"),
        ("check",),
        ("webhooks",),
    ],
    ids=" ".join,
)
def test_after_roots_command_the_daemon_starts(project: Project, command: tuple[str, ...], has_folder: bool) -> None:
    if has_folder:
        project.state.mkdir(mode=0o700)
        os.chown(project.state, NOBODY, NOBODY)
    done = whd(project, *command)
    assert done.returncode == 0, done.stderr
    assert not project.state.exists() or owners(project.state) == {NOBODY}
    assert owners(project.config) == owners(project.flows) == {NOBODY}
    with running(project, prefix=AS_NOBODY) as daemon:
        assert daemon.get("/api/webhook/acme/fine?async").status == 202
        assert whd(project, *command).returncode == 0
        assert owners(project.state) == {NOBODY}


@pytest.mark.parametrize("name", ["lock", "executions.sqlite", "saved.sqlite", "executions.sqlite-wal", "."])
def test_a_file_that_is_closed_to_the_daemon_is_named_with_its_owner_and_the_way_out(
    project: Project, name: str
) -> None:
    project.state.mkdir(mode=0o700)
    os.chown(project.state, NOBODY, NOBODY)
    assert whd(project, "run", "acme", "fine", "--user", "kevin").returncode == 0
    path = project.state / name
    if not path.exists():
        path.write_bytes(b"\0")
    os.chown(path, 0, 0)
    path.chmod(0o700 if name == "." else 0o600)
    done = whd(project, "serve", prefix=AS_NOBODY)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{path} belongs to root:root" in done.stderr
    chown = "chown -R" if name == "." else "chown"
    assert f"as root: {chown} {user_name(NOBODY)}:{group_name(NOBODY)} {path}" in done.stderr


def fault_of(daemon: RunningDaemon, path: Path) -> str:
    return next((fault for fault in daemon.ask("status")["faults"] if str(path) in fault), "")


@pytest.mark.parametrize("what", ["the setting", "its folder", "the root"])
def test_what_the_daemon_could_not_read_again_is_a_fault_now(project: Project, what: str) -> None:
    """Root has edited a file: the daemon has the last good version, and the next start would have nothing."""
    setting = project.config / "acme" / "settings" / "client.webhook.fine.yaml"
    path = {"the setting": setting, "its folder": setting.parent, "the root": project.config}[what]
    with running(project, prefix=AS_NOBODY) as daemon:
        os.chown(path, 0, 0)
        path.chmod(0o700 if path.is_dir() else 0o600)
        fault = wait_for(partial(fault_of, daemon, path), "the fault", 5.0)
        assert "Permission denied" in fault
        group = group_name(NOBODY)
        assert f"chgrp {group} {path} && chmod {2750 if path.is_dir() else 640} {path}" in fault
        assert daemon.get("/api/webhook/acme/fine").status == 200
        assert daemon.get("/readyz").json["status"] == "degraded"
        checked = whd(project, "check")
        assert checked.returncode == 1, "root's own check says the same"
        assert str(path) in checked.stdout
        os.chown(path, 0, NOBODY)
        path.chmod(0o2750 if path.is_dir() else 0o640)
        wait_for(lambda: not daemon.ask("status")["faults"], "the fault to go", 5.0)
