"""A layer that a host lacks is reported, with the reason, and every other one engages all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from whd.sandbox.isolation import REQUIRABLE, LayerReport, cpu_backstop_s, missing, summary

from .conftest import Start
from .walled import FAR_SIDE, PROJECT, Zygote

# What cannot engage without another: the layer left out, the layers that go with it. Without no_new_privs, the kernel
# asks Landlock and seccomp for a capability, and by the time of the filter the wall has left none.
GO_WITH = {"namespaces": {"empty_root"}, "no_new_privs": {"landlock", "seccomp"}}
USER_LIMIT = "/proc/sys/user/max_user_namespaces"


def engaged(zygote: Zygote, reports: list[list[Any]]) -> dict[str, LayerReport]:
    both = [LayerReport(*fields) for fields in (*zygote.reports, *reports)]
    return {report.name: report for report in summary(both, REQUIRABLE)}


@pytest.mark.parametrize("name", [name for name in REQUIRABLE if name != "cgroup"])
def test_one_layer_less_leaves_the_others(start: Start, uid: int | None, name: str) -> None:
    zygote = start({"skip": [name]})
    # These tests speak over the worker's descriptor 3, so that one layer stays in the worker.
    config = {"skip": [] if name == "closed_fds" else [name]}
    answer = zygote.run("value = reports", config=config)
    assert answer["exit"] == 0
    reports = engaged(zygote, answer["value"])
    assert reports[name] == LayerReport(name, False, "left out by the configuration")
    expected = {name, "cgroup"} | GO_WITH.get(name, set())
    if name == "namespaces" and zygote.uid != 0:
        # Only inside a namespace of its own may an ordinary user empty the bounding set.
        expected |= {"capabilities"}
    assert {report.name for report in reports.values() if not report.engaged} <= expected
    assert all(report.reason for report in reports.values() if not report.engaged)


def test_a_kernel_that_refuses_user_namespaces_is_named_with_the_way_out() -> None:
    """For real: in a user namespace whose own limit of further ones is 0."""
    program = f"""
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
from whd.sandbox.isolation import kernel, namespaces
from whd.sandbox.isolation.wall import Wall
uid, gid = os.geteuid(), os.getegid()
kernel.syscall("unshare", 0x10000000)
for name, text in (("setgroups", "deny"), ("gid_map", f"1000 {{gid}} 1"), ("uid_map", f"1000 {{uid}} 1")):
    open("/proc/self/" + name, "w").write(text)
open({USER_LIMIT!r}, "w").write("0")
assert open({USER_LIMIT!r}).read() == "0\\n"
wall = Wall({{}}, parent_pid=0)
print(namespaces.enter(wall), wall.has_mount_namespace, sep="|")
"""
    ended = subprocess.run([sys.executable, "-I", "-B", "-c", program], capture_output=True, text=True)
    if ended.returncode:
        pytest.skip(f"this host does not let the test prepare that: {ended.stderr.strip().splitlines()[-1]}")
    reason, has_mount_namespace = ended.stdout.strip().split("|")
    assert "user.max_user_namespaces" in reason
    assert has_mount_namespace == "False"


# How a user namespace fails for root: what to change in the module, the layers that are then missing.
ROOT_WITHOUT_NAMESPACE = {
    "refused": (
        "tried = namespaces._tried_by_child\n"
        "namespaces._tried_by_child = lambda wall, with_user: (1, '') if with_user else tried(wall, with_user=False)",
        {"namespaces"},
    ),
    # 1 is no flag of unshare(2): it fails after root has stepped aside.
    "half-way": (
        "namespaces._tried_by_child = lambda wall, with_user: (0, '')\nnamespaces._CLONE_NEWUSER = 1",
        {"namespaces", "empty_root"},
    ),
}


@pytest.mark.parametrize(("change", "missing_layers"), ROOT_WITHOUT_NAMESPACE.values(), ids=ROOT_WITHOUT_NAMESPACE)
def test_root_becomes_nobody_without_a_user_namespace_too(
    tmp_path: Path, change: str, missing_layers: set[str]
) -> None:
    """Where only the user namespace is refused, root makes the others itself."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    far_side = tmp_path / "far_side.py"
    change = f"from whd.sandbox.isolation import namespaces\n{change}\n\nMEMORY_BYTES ="
    far_side.write_text(FAR_SIDE.read_text().replace("MEMORY_BYTES =", change, 1))
    zygote = Zygote(far_side=far_side)
    try:
        reports = engaged(zygote, zygote.run("value = reports")["value"])
        assert {name for name, report in reports.items() if not report.engaged} == {"cgroup"} | missing_layers
        held = zygote.hold()
        assert held.status()["Uid"].split() == ["65534"] * 4
        assert held.status()["Gid"].split() == ["65534"] * 4
        assert held.status()["Groups"] == ""
        assert held.status()["CapBnd"] == held.status()["CapPrm"] == "0" * 16
        signal.pidfd_send_signal(held.pidfd, signal.SIGKILL)
        assert zygote.reap(held) == -signal.SIGKILL
        assert zygote.ask({"do": "canary"})["found"] == []
    finally:
        zygote.close()


def test_a_defect_in_the_attempt_is_reported_as_what_it_is(tmp_path: Path) -> None:
    """A child makes the attempt: what goes wrong there must not look like a kernel that refuses."""
    far_side = tmp_path / "far_side.py"
    change = (
        "from whd.sandbox.isolation import namespaces\n"
        "def broken(path, text): raise LookupError('unknown encoding: ascii')\n"
        "namespaces._write = broken\n\nMEMORY_BYTES ="
    )
    far_side.write_text(FAR_SIDE.read_text().replace("MEMORY_BYTES =", change, 1))
    zygote = Zygote(far_side=far_side)
    try:
        reports = engaged(zygote, zygote.run("value = reports")["value"])
        assert "LookupError: unknown encoding: ascii" in reports["namespaces"].reason
    finally:
        zygote.close()


def test_a_layer_that_breaks_is_reported_and_not_raised() -> None:
    """In a child, since it marks the process."""
    program = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from whd.sandbox.isolation import layers, wall_worker_bind, wall_worker_start
def broken(wall):
    raise RuntimeError("broken")
layers.LAYERS = (("worker", "landlock", broken), *layers.LAYERS)
reports = wall_worker_start({{"socket_fd": 999}})
import os
os._exit(0 if reports[0] == ("landlock", False, "RuntimeError: broken") and not reports[1].engaged else 1)
"""
    assert subprocess.run([sys.executable, "-I", "-B", "-c", program]).returncode == 0


def test_foreign_variables_are_wiped_and_reported(uid: int | None) -> None:
    if uid is not None:
        pytest.skip("the same for every user")
    program = f"""
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
from whd.sandbox.isolation import environment, kernel
strings = kernel.environment_strings()
reason = environment.empty(None)
left = open("/proc/self/environ", "rb").read()
assert b"hunter2" not in left and "SECRET" not in os.environ, left
assert os.environ["TZ"] == "Europe/Vienna"
print(reason)
"""
    ended = subprocess.run(
        [sys.executable, "-I", "-B", "-c", program],
        env={"SECRET": "hunter2", "TZ": "Europe/Vienna"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 variables" in ended.stdout


def test_what_is_required_and_missing_is_named() -> None:
    reports = [
        LayerReport("no_new_privs", True),
        LayerReport("rlimits", True),
        LayerReport("rlimits", False, "why"),
        LayerReport("rlimits", True),
    ]
    assert missing(["no_new_privs", "rlimits", "seccomp"], reports) == [
        LayerReport("rlimits", False, "why"),
        LayerReport("seccomp", False, "was not tried"),
    ]


def test_the_cpu_backstop_is_whole_seconds_and_well_above_the_limit() -> None:
    assert cpu_backstop_s(0.1) == 70
    assert cpu_backstop_s(60) == 660
