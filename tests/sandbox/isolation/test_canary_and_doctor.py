"""The canary finds a hole and stays quiet without one; doctor tells what engages; and what all of it costs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from whd.model.options import SANDBOX_LAYERS
from whd.sandbox.isolation import REQUIRABLE, doctor, kernel

from .conftest import Start
from .walled import FAR_SIDE, PROJECT, Zygote, as_user


def test_the_canary_finds_nothing_in_a_whole_wall(zygote: Zygote, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [zygote.ask({"do": "canary"}) for _ in range(5)]
    assert all(answer["found"] == [] for answer in answers)
    with capsys.disabled():
        print(f" [canary {statistics.median(answer['ms'] for answer in answers):.1f} ms]", end="")


# The layers that are missing although they report themselves engaged, and what the canary then must find.
HOLES = {
    ("seccomp",): {"the filter lets prctl pass"},
    ("seccomp", "landlock", "empty_root", "rlimits"): {"opened a file", "listed the root directory"},
    ("seccomp", "mdwe"): {"mapped executable memory"},
    ("seccomp", "capabilities"): {"the filter lets prctl pass"},
}


@pytest.mark.parametrize("layers", HOLES, ids=" ".join)
def test_the_canary_finds_a_layer_that_only_says_it_engaged(start: Start, layers: tuple[str, ...]) -> None:
    zygote = start({"lie": list(layers)})
    assert HOLES[layers] <= set(zygote.ask({"do": "canary"})["found"])


def test_the_canary_does_not_hold_a_reported_absence_against_the_wall(start: Start) -> None:
    zygote = start({"skip": ["seccomp", "landlock"]})
    assert zygote.ask({"do": "canary"})["found"] == []


# What is done to the far side before its wall, and what the canary then finds.
FOREIGN_CALLS = {
    # systemd's SystemCallArchitectures=native does so: what our own filter answers then, nobody sees.
    "killed by the host": (
        """
kernel.prctl(38, 1)
seccomp.Filter(bpf.program(0xC000003E, {0x40000000 | 39: bpf.Rule(seccomp.KILL_PROCESS)}, seccomp.ALLOW)).install()
""",
        [],
    ),
    "let pass by the filter": (
        """
whole = bpf.program
bpf.program = lambda arch, rules, default: whole(arch, {**rules, 0x40000000 | 39: bpf.Rule(seccomp.ALLOW)}, default)
""",
        ["a system call of the x32 ABI ended a worker with 70 instead of SIGSYS"],
    ),
}


@pytest.mark.skipif(kernel.MACHINE != "x86_64", reason="an ABI that only x86-64 has")
@pytest.mark.parametrize(("change", "found"), FOREIGN_CALLS.values(), ids=FOREIGN_CALLS)
def test_calls_of_the_x32_abi(tmp_path: Path, change: str, found: list[str]) -> None:
    far_side = tmp_path / "far_side.py"
    change = f"from whd.sandbox.isolation import bpf, seccomp\n{change}\nMEMORY_BYTES ="
    far_side.write_text(FAR_SIDE.read_text().replace("MEMORY_BYTES =", change, 1))
    zygote = Zygote(far_side=far_side)
    try:
        assert zygote.ask({"do": "canary"})["found"] == found
    finally:
        zygote.close()


def test_the_option_sandbox_require_knows_just_these_layers() -> None:
    assert set(SANDBOX_LAYERS) == set(REQUIRABLE)


def test_doctor_has_one_report_per_layer_and_changes_nothing_here() -> None:
    before = (os.getresuid(), os.getcwd(), os.listdir("/"), dict(os.environ))
    reports = doctor()
    assert [report.name for report in reports] == list(REQUIRABLE)
    assert [tuple(report) for report in reports if not report.engaged and report.name != "cgroup"] == []
    assert all(report.reason for report in reports if not report.engaged)
    assert (os.getresuid(), os.getcwd(), os.listdir("/"), dict(os.environ)) == before


def test_every_layer_of_this_host_engages_for_each_user(uid: int | None) -> None:
    """As `whd doctor` shows it; cgroup needs systemd."""
    code = f"""
import json, sys
sys.path.insert(0, {str(PROJECT)!r})
from whd.sandbox.isolation import doctor
print(json.dumps(doctor()))
"""
    command = as_user(uid, [sys.executable, "-I", "-B", "-c", code])
    out = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout
    reports = {name: reason for name, engaged, reason in json.loads(out) if not engaged}
    assert set(reports) <= {"cgroup"}, reports


def test_doctor_reports_an_interpreter_that_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert all(not report.engaged and "cannot be started" in report.reason for report in doctor())


def test_doctor_reports_a_trial_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert all(not report.engaged and "broke off" in report.reason for report in doctor())


def test_the_package_loads_nothing_that_a_zygote_has_no_use_for() -> None:
    """asyncio, threads and sockets of the standard library would stay in every worker's memory."""
    program = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
import whd.sandbox.isolation
print(*sorted({{"asyncio", "subprocess", "threading", "selectors", "logging"}} & set(sys.modules)))
print(*sorted(n for n in sys.modules if n.startswith("whd.") and not n.startswith("whd.sandbox")))
"""
    out = subprocess.run([sys.executable, "-I", "-B", "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.split() == []


def test_what_a_worker_costs_is_printed(zygote: Zygote, capsys: pytest.CaptureFixture[str]) -> None:
    times = zygote.ask({"do": "measure", "count": 50})
    with capsys.disabled():
        start_ms, bind_ms = (statistics.median(times[name]) for name in ("start_ms", "bind_ms"))
        print(f" [fork and start {start_ms:.2f} ms, bind {1e3 * bind_ms:.0f} us]", end="")
