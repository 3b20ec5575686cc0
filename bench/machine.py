"""What the figures were measured on, and how quiet it was there. Linux: /proc, sched_setaffinity(2)."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("uvloop", "h11", "PyYAML", "RestrictedPython")

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def commit(root: Path) -> dict[str, Any]:
    """The checkout's commit and whether its files differ from it; commit is None outside of git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changed = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed) if changed is not None else None}


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def describe() -> dict[str, Any]:
    """CPU, cores, kernel, Python and library versions."""
    info = Path("/proc/cpuinfo").read_text()
    facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return {
        "cpu": facts.get("model name") or platform.machine(),
        "cores": os.cpu_count(),
        "cores_allowed": sorted(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in facts.get("flags", "").split(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {library: _version(library) for library in LIBRARIES},
        "load_average": os.getloadavg()[0],
    }


@contextlib.contextmanager
def affinity(cpus: set[int] | None) -> Iterator[None]:
    """What is started within inherits these CPUs; None leaves all as it is."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def process_tree(pid: int) -> list[int]:
    """A process and all its living descendants, itself first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat_fields(int(entry))
            if fields is not None:
                children.setdefault(int(fields[1]), []).append(int(entry))
    tree = [pid]
    for parent in tree:
        tree.extend(children.get(parent, ()))
    return tree


def _stat_fields(pid: int) -> list[str] | None:
    """/proc/PID/stat from the third field (the state) on, proc_pid_stat(5); None if the process has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def cpu_s(pid: int) -> float:
    """CPU time of a process, its living descendants and those that it waited for, in seconds."""
    ticks = 0
    for member in process_tree(pid):
        fields = _stat_fields(member)
        if fields is not None:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS_PER_S


def memory_bytes(pid: int, field: str = "Pss") -> int:
    """Memory of a process and its descendants: the sum of their proportional set sizes (PSS, proc_pid_smaps(5)).

    What several share is counted once. "Pss_Anon" leaves out what is mapped from files, which the same program run
    elsewhere shares too. A process that has gone, or that hides its maps from us, counts nothing.
    """
    kib = 0
    for member in process_tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{member}/smaps_rollup", encoding="ascii") as file:
            kib += sum(int(line.split()[1]) for line in file if line.startswith(f"{field}:"))
    return kib * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment's clocks, in seconds: of all CPUs together (busy, stolen, all), of the server, of our own processes."""

    wall_s: float
    busy_s: float
    steal_s: float
    total_s: float
    server_s: float
    own_s: float


def sample(server_pid: int) -> Sample:
    """The clocks now. "Own" is this process and the children that it has waited for: the load generator."""
    user, nice, system, idle, iowait, irq, softirq, steal = (
        int(field) / _TICKS_PER_S for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    busy = user + nice + system + irq + softirq
    mine = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return Sample(
        wall_s=time.monotonic(),
        busy_s=busy,
        steal_s=steal,
        total_s=busy + idle + iowait + steal,
        server_s=cpu_s(server_pid),
        own_s=sum(usage.ru_utime + usage.ru_stime for usage in mine),
    )


def between(before: Sample, after: Sample) -> dict[str, float]:
    """What happened between two samples.

    `server_cpu_s`: the server's CPU time; `steal`: the share of all CPU time that the hypervisor gave to others;
    `others_cores`: how many cores processes kept busy that are neither the server nor the load.
    """
    wall = max(after.wall_s - before.wall_s, 1e-9)
    server = after.server_s - before.server_s
    known = server + after.own_s - before.own_s
    return {
        "server_cpu_s": server,
        "steal": (after.steal_s - before.steal_s) / max(after.total_s - before.total_s, 1e-9),
        "others_cores": max(0.0, (after.busy_s - before.busy_s - known) / wall),
    }


def python_command() -> str:
    """The Python that runs this, for servers and load alike."""
    return sys.executable
