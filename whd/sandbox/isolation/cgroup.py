"""Layer cgroup: all flows together in one group of cgroup v2, so that they cannot take the machine from the daemon.

Only inside a subtree that systemd has delegated (Delegate=, systemd.resource-control(5)); it marks the directory with
the attribute user.delegate. Nothing is touched elsewhere: a login's group belongs to others. Controllers reach children
only if no process is in the group itself (cgroups(7), "no internal processes"), so the daemon moves into a leaf too.
"""

from __future__ import annotations

import os
from pathlib import Path

from .wall import Wall

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids")
# The leaf of the daemon; also the name that DelegateSubgroup= is given in whd's unit where systemd knows it (254).
_DAEMON, _FLOWS = "daemon", "flows"
# Against the daemon's 100: when both want all of the machine, flows get a third.
_CPU_WEIGHT = 50
_PROCESSES = 4096
_MOVES = 8
_OFF = "run whd as a systemd service with `Delegate=cpu memory pids`"


def join(wall: Wall) -> str:
    """Moves the zygote, and with it all workers to come, into the group of the flows. Raises OSError."""
    return join_at(wall, _MOUNT, _OWN.read_text(encoding="utf-8"))


def join_at(wall: Wall, mount: Path, membership: str) -> str:
    """`join` for a hierarchy mounted at `mount`; `membership` is the text of /proc/<pid>/cgroup."""
    if not (mount / "cgroup.controllers").is_file():
        return f"cgroup v2 is not mounted at {mount}; boot with systemd.unified_cgroup_hierarchy=1"
    path = next((line[3:] for line in membership.splitlines() if line.startswith("0::")), "/")
    base = mount / path.lstrip("/")
    if base.name == _DAEMON:
        base = base.parent
    if not _is_delegated(base):
        return f"the control group {path} is not delegated to whd; {_OFF}"
    available = (base / "cgroup.controllers").read_text(encoding="ascii").split()
    wanted = [name for name in _CONTROLLERS if name in available]
    if "memory" not in wanted or "pids" not in wanted:
        return f"only these controllers are delegated: {', '.join(available) or 'none'}; {_OFF}"
    for leaf in (_DAEMON, _FLOWS):
        (base / leaf).mkdir(exist_ok=True)
    _empty_into(base, base / _DAEMON)
    (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted), encoding="ascii")
    _limit(wall, base / _FLOWS, wanted)
    (base / _FLOWS / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    return ""


def _is_delegated(base: Path) -> bool:
    for attribute in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(base, attribute) == b"1":
                return True
        except OSError:
            continue
    return False


def _empty_into(base: Path, leaf: Path) -> None:
    """Moves all processes of `base`; again if one forked meanwhile, but not for ever."""
    for _ in range(_MOVES):
        pids = (base / "cgroup.procs").read_text(encoding="ascii").split()
        if not pids:
            return
        for pid in pids:
            try:
                (leaf / "cgroup.procs").write_text(pid, encoding="ascii")
            except ProcessLookupError:  # ended meanwhile
                continue


def _limit(wall: Wall, group: Path, controllers: list[str]) -> None:
    (group / "pids.max").write_text(str(wall.config.get("cgroup_processes", _PROCESSES)), encoding="ascii")
    memory_bytes = wall.config.get("cgroup_memory_bytes")
    if memory_bytes is not None:
        (group / "memory.max").write_text(str(memory_bytes), encoding="ascii")
    if "cpu" in controllers:
        (group / "cpu.weight").write_text(str(_CPU_WEIGHT), encoding="ascii")
