#!/usr/bin/env python3
"""Where a call's time goes: microseconds per step of the path, in the daemon and in the worker; CPU and system calls.

Three daemons are run one after the other, under the same closed-loop load:
  1. one with a clock around each step (profiled.py lists them): a step's own CPU time per call;
  2. one as it is: user and system CPU time per call, of the daemon and of its workers, by the kernel's count;
  3. one under strace -c, where that is installed and allowed: system calls per call. It is slow; only counts are used.
The worker's steps are timed in its own code, without the wall, driven over a socket pair.

Clocks cost time themselves; that is measured and taken off, so small steps are right to some tenths of a microsecond.
What the steps do not cover (the event loop, the kernel, the store's threads) is the rest to the daemon's CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import machine, profiled, runs, sheet, targets
from bench.progress import Progress

TITLE = "A call's path, step by step"
PROFILED = str(targets.ROOT / "bench" / "profiled.py")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_ATTACH_S = 10.0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="profile.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--connections", type=int, default=64, metavar="N", help="keep-alive connections (64)")
    result.add_argument("--quick", action="store_true", help="short runs, one round")
    runs.add_common(result, rounds=3, seconds=3, warm=1)
    return result


@contextlib.contextmanager
def _daemon(common: runs.Common, program: tuple[str, ...] = ()) -> Iterator[targets.Running]:
    with tempfile.TemporaryDirectory(prefix="whd-profile-") as name:
        # One front: the clocks are in the process that is started.
        lines = {line.partition(":")[0]: line for line in ("processes: 1", *common.options)}
        targets.write_config(Path(name), tuple(lines.values()))
        with targets.daemon(Path(name), common.server_cpus, program=program) as server:
            yield server


def daemon_steps(common: runs.Common, connections: int, noise: sheet.Noise) -> dict[str, Any]:
    """Own microseconds per call of each of the daemon's steps: where → {calls, own_us}, per call."""
    with tempfile.TemporaryDirectory(prefix="whd-profile-") as name:
        out = Path(name) / "steps.json"
        with _daemon(common, (PROFILED, str(out))) as server:
            cell = noise.add(runs.load(server, _plan(common, connections)))
        found: dict[str, Any] = json.loads(out.read_text())
    calls = max(1, cell["checked"])
    return {where: {name: value / calls for name, value in step.items()} for where, step in found.items()}


def worker_steps(common: runs.Common, count: int) -> dict[str, Any]:
    """The same for a worker."""
    with tempfile.TemporaryDirectory(prefix="whd-profile-") as name, machine.affinity(common.server_cpus):
        out = Path(name) / "steps.json"
        command = [machine.python_command(), PROFILED, str(out), "--worker", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise runs.BenchError(f"profiled.py --worker: {done.stderr.strip()[-500:]}")
        found: dict[str, Any] = json.loads(out.read_text())
    return {where: {name: value / count for name, value in step.items()} for where, step in found.items()}


def cpu_us(common: runs.Common, connections: int, noise: sheet.Noise) -> dict[str, float]:
    """CPU microseconds per call of a daemon as it is: user and system, of the daemon and of all below it."""
    with _daemon(common) as server:
        noise.add(runs.load(server, _plan(common, connections)))  # until the workers are there
        before = _ticks(server.pid)
        cell = noise.add(runs.load(server, _plan(common, connections)))
        after = _ticks(server.pid)
    calls = max(1, cell["checked"])
    return {name: (after[name] - before[name]) / _TICKS_PER_S / calls * 1e6 for name in after} | {
        "answered_per_s": cell["answered_per_s"]
    }


def _ticks(pid: int) -> dict[str, int]:
    result = dict.fromkeys(("daemon user", "daemon system", "workers user", "workers system"), 0)
    for member in machine.process_tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            who = "daemon" if member == pid else "workers"
            # Its own time, and that of its children which have ended and were waited for.
            result[f"{who} user"] += int(fields[11]) + int(fields[13])
            result[f"{who} system"] += int(fields[12]) + int(fields[14])
    return result


def system_calls(common: runs.Common, connections: int) -> dict[str, dict[str, float]] | str:
    """System calls per call, of the daemon and of its workers: name → how many; or why they cannot be counted."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with _daemon(common) as server, tempfile.TemporaryDirectory(prefix="whd-profile-") as name:
        runs.load(server, _plan(common, connections))
        groups = {"daemon": [server.pid], "workers": machine.process_tree(server.pid)[1:]}
        tracers = {}
        try:
            for who, pids in groups.items():
                command = ["strace", "-f", "-c", "-o", str(Path(name) / who)]
                command += [part for pid in pids for part in ("-p", str(pid))]
                tracers[who] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if not all(_wait_traced(pid) for pids in groups.values() for pid in pids[:1]):
                return "strace may not attach to the daemon here"
            cell = runs.load(server, _plan(common, connections))
        finally:
            for tracer in tracers.values():
                tracer.send_signal(signal.SIGINT)
            for tracer in tracers.values():
                tracer.communicate(timeout=30)
        return {who: read_strace((Path(name) / who).read_text(), cell["checked"]) for who in groups}


def _wait_traced(pid: int) -> bool:
    until = time.monotonic() + _ATTACH_S
    while time.monotonic() < until:
        if "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text():
            return True
        time.sleep(0.02)
    return False


def read_strace(text: str, calls: int) -> dict[str, float]:
    """The table of strace -c, per call; what is rarer than once in a hundred calls is left out."""
    result = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            result[fields[-1]] = int(fields[3]) / max(1, calls)
    return {name: count for name, count in result.items() if count >= 0.01}


def _plan(common: runs.Common, connections: int) -> runs.Load:
    return runs.Load(connections, common.seconds, common.warm_s, cpu=common.load_cpu)


# The report --------------------------------------------------------------------------------------------------------


def _steps_section(
    name: str, heading: str, reading: str, steps: tuple[profiled.Step, ...], rounds: list[dict[str, Any]]
) -> sheet.Section:
    def middle(where: str, figure: str) -> float:
        values = sorted(found[where][figure] for found in rounds)
        return float(values[len(values) // 2])

    own = {step.where: middle(step.where, "own_us") for step in steps}
    total = sum(own.values())
    lines = [
        [step.what, f"{own[step.where]:.2f}", f"{own[step.where] / max(total, 1e-9):.1%}",
         f"{middle(step.where, 'calls'):.2f}", step.where]
        for step in steps
    ]  # fmt: skip
    lines.append(["all steps", f"{total:.2f}", "100.0%", "-", "-"])
    return sheet.Section(
        name, heading, reading, (["step", "µs per call", "share", "times per call", "where"], lines),
        figures={"own_us": own, "total_us": total, "rounds": rounds},
    )  # fmt: skip


def measure(common: runs.Common, connections: int, progress: Progress) -> dict[str, Any]:
    """The report. Raises runs.BenchError or targets.TargetError at the first thing that goes wrong."""
    noise = sheet.Noise()
    beginning = runs.about(TITLE)
    daemon, worker, cpu = [], [], []
    for number in range(common.rounds):
        progress.step(f"round {number + 1}: the daemon's steps")
        daemon.append(daemon_steps(common, connections, noise))
        progress.step(f"round {number + 1}: the worker's steps")
        with runs.turn():
            worker.append(worker_steps(common, 2_000 if common.quick else 20_000))
        progress.step(f"round {number + 1}: CPU per call")
        cpu.append(cpu_us(common, connections, noise))
    progress.step("system calls")
    counted = system_calls(common, connections)
    noise.add_rounds([each["answered_per_s"] for each in cpu])
    sections = [
        _steps_section(
            "daemon", "The daemon, step by step", f"At {connections} connections. Own CPU time: what a step "
            "calls that is listed itself is not in it.", profiled.DAEMON, daemon,
        ),
        _steps_section("worker", "The worker, step by step", "One job after the other.", profiled.WORKER, worker),
        _cpu_section(cpu),
        _calls_section(counted),
    ]  # fmt: skip
    pinned = "server on one CPU, load on another" if common.pin else "server and load share all CPUs"
    text = f"{common.rounds} rounds of {common.seconds:g} s, medians; {connections} connections; {pinned}"
    settings = [("settings", f"{text}; whd's options: {', '.join(common.options) or 'defaults'}; one front")]
    return sheet.build(beginning, settings, sections, noise)


def _cpu_section(rounds: list[dict[str, float]]) -> sheet.Section:
    middles = {name: sorted(each[name] for each in rounds)[len(rounds) // 2] for name in rounds[0]}
    lines = [
        [who, *(f"{middles[f'{who} {kind}']:.1f}" for kind in ("user", "system"))] for who in ("daemon", "workers")
    ]
    reading = (
        f"CPU time by the kernel's count, without clocks, at {middles['answered_per_s']:,.0f} calls/s. The daemon: "
        "with its store's threads. Workers: all processes below it."
    )
    return sheet.Section("cpu", "CPU per call", reading, (["", "user µs", "system µs"], lines), figures=middles)


def _calls_section(counted: dict[str, dict[str, float]] | str) -> sheet.Section:
    heading = "System calls per call"
    if isinstance(counted, str):
        return sheet.Section("system_calls", heading, f"Not counted: {counted}.", ([], []))
    lines = [
        [who, name, f"{count:.2f}"]
        for who, calls in counted.items()
        for name, count in sorted(calls.items(), key=lambda item: -item[1])
    ]
    reading = "By strace -c, which slows all down: what one wake-up does for several calls counts for less than here."
    return sheet.Section("system_calls", heading, reading, (["", "call", "per call"], lines), figures=dict(counted))


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status: 0, 1 for a run that must not be reported, 2 for usage."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        quick: dict[str, Any] = {"rounds": 1, "seconds": 1.0, "warm": 0.3}
        common = runs.common_of(options, **(quick if options.quick else {"rounds": 3, "seconds": 3.0, "warm": 1.0}))
        if not 1 <= options.connections <= 10_000:
            raise ValueError("--connections: 1 to 10000")
    except ValueError as error:
        command.error(str(error))

    def go() -> int:
        progress = Progress(3 * common.rounds + 1, sys.stderr)
        try:
            document = measure(common, options.connections, progress)
        finally:
            progress.end()
        sheet.write(document, options)
        return 0

    return runs.guarded("profile.py", go)


if __name__ == "__main__":
    runs.run_command(main)
