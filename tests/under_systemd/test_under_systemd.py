"""The units for real: systemd boots in namespaces over this host, starts whd by its socket, and the wall engages.

Needs root with its capabilities, systemd, overlayfs, a cgroup v2 mount, and a Python of this version outside of /root
and /home, which the unit hides (ProtectHome=). What is missing is the reason of the skip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from whd.commands.unit_files import UNIT_NAMES, unit_texts

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE_S = 120
PYTHON = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
TOOLS = ("systemctl", "systemd-sysusers", "unshare", "setpriv", "pivot_root", "pgrep", "bash")


def cgroup2_mount() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(folder)
    pytest.skip("cgroup v2 is not mounted")


def make_cgroup() -> Path:
    cgroup = cgroup2_mount() / f"whd-test-{os.getpid()}"
    try:
        cgroup.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    return cgroup


def remove_cgroup(cgroup: Path) -> None:
    for folder, _, _ in os.walk(cgroup, topdown=False):
        os.rmdir(folder)


def stage(folder: Path) -> None:
    """What boot.sh takes along: whd with what it needs in a virtual environment, the units, the examples."""
    for name in ("root", "space", "probe/units"):
        (folder / name).mkdir(parents=True)
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(folder / "whd")], check=True)
    packages = folder / "whd" / "lib" / Path(PYTHON).name / "site-packages"
    shutil.copytree(sysconfig.get_path("purelib"), packages, dirs_exist_ok=True)
    for editable in packages.glob("*editable*"):
        editable.unlink()
    shutil.copytree(ROOT / "whd", packages / "whd")
    command = folder / "whd" / "bin" / "whd"
    command.write_text("#!/opt/whd/bin/python\nimport sys\nfrom whd.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    subprocess.run(["chmod", "-R", "go+rX", str(folder / "whd")], check=True)
    for name, text in unit_texts("/opt/whd/bin/whd").items():
        (folder / "probe/units" / name).write_text(text)
    for name in ("config", "flows"):
        shutil.copytree(ROOT / name, folder / "probe" / name)
    shutil.copy(HERE / "probe.py", folder / "probe/probe.py")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What probe.py saw."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if missing := [tool for tool in TOOLS if not shutil.which(tool)] or [p for p in [PYTHON] if not Path(p).exists()]:
        pytest.skip(f"needs {missing[0]}")
    folder = tmp_path_factory.mktemp("systemd")
    stage(folder)
    cgroup = make_cgroup()
    try:
        booted = subprocess.run(
            ["bash", str(HERE / "boot.sh"), str(folder), str(cgroup)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    finally:
        remove_cgroup(cgroup)
    log = folder / "probe" / "log"
    if not log.exists():
        pytest.skip(f"systemd does not boot here: {(booted.stdout + booted.stderr).strip()[-300:]}")
    answer = folder / "probe" / "answer"
    assert answer.exists(), log.read_text()
    return json.loads(answer.read_text())


def test_the_units_are_all_there(seen: Any) -> None:
    assert set(UNIT_NAMES) == {"whd.service", "whd.socket", "whd.sysusers"}
    assert seen["stopped"] == "success"


def test_a_call_starts_the_service_through_its_socket_and_outlives_a_reload_and_a_kill(seen: Any) -> None:
    calls = [seen[name] for name in ("activated", "reloaded", "killed")]
    assert calls == [f"200 {{'method': 'POST', 'received': {{'n': {number}}}}}" for number in (1, 2, 3)]


def test_every_layer_that_this_host_has_engages_under_the_directives(seen: Any) -> None:
    """cgroup where the host has its controllers in version 2; mdwe from Linux 6.3 on, before it the unit's own."""
    missing = {layer["name"]: layer["reason"] for layer in seen["doctor"] if not layer["engaged"]}
    assert set(missing) <= {"cgroup", "mdwe"}, missing


def test_no_process_of_the_service_has_a_capability_or_runs_without_a_filter(seen: Any) -> None:
    assert len(seen["processes"]) >= 4, "the daemon, two of the zygote, a worker"
    for status in seen["processes"]:
        assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert sum(len(status["NSpid"].split()) == 2 for status in seen["processes"]) >= 2, "the zygote and its workers"
