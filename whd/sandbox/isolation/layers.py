"""The wall: every layer in the order in which it is applied, and the three calls that apply them.

The zygote calls `wall_zygote` once; a worker calls `wall_worker_start` straight after its fork and `wall_worker_bind`
once it knows whom it serves. A layer that this host lacks is reported and left out; the others engage all the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import (
    capabilities,
    cgroup,
    descriptors,
    dumpable,
    empty_root,
    environment,
    identity,
    landlock,
    mdwe,
    namespaces,
    no_new_privs,
    parent_death,
    pid_one,
    rlimits,
    seccomp,
)
from .report import LayerReport, summary
from .wall import Layer, Wall

LAYERS: tuple[tuple[str, str, Layer], ...] = (
    ("zygote", "empty_environment", environment.empty),
    ("zygote", "closed_fds", descriptors.keep_control),
    # Files of /sys and /proc are needed: before the root goes.
    ("zygote", "cgroup", cgroup.join),
    ("zygote", "namespaces", namespaces.enter),
    ("zygote", "empty_root", empty_root.enter),
    # Dropping bounds takes a capability: before the user goes.
    ("zygote", "capabilities", capabilities.shrink_bounds),
    ("zygote", "user", identity.leave_root),
    ("zygote", "no_new_privs", no_new_privs.engage),
    ("zygote", "landlock", landlock.engage),
    ("zygote", "rlimits", rlimits.for_zygote),
    ("zygote", "capabilities", capabilities.drop_all),
    ("zygote", "mdwe", mdwe.engage),
    # Changes of credentials reset these two: after all of them.
    ("zygote", "dumpable", dumpable.engage),
    ("zygote", "seccomp", seccomp.prepare),
    # Forks: the process that stays outside inherits all of the above.
    ("zygote", "namespaces", pid_one.become),
    ("zygote", "parent_death", parent_death.engage),
    # In each worker, from its fork on.
    ("worker", "closed_fds", descriptors.keep_socket),
    ("worker", "parent_death", parent_death.engage),
    ("worker", "rlimits", rlimits.for_worker),
    # In each worker, when it is bound to a client and a user. The filter is last: nothing above works behind it.
    ("bind", "rlimits", rlimits.for_flow),
    ("bind", "seccomp", seccomp.install),
)

REQUIRABLE: tuple[str, ...] = tuple(dict.fromkeys(name for _, name, _ in LAYERS))
"""The names that the option sandbox_require and `whd doctor` know, in the order of the wall."""

# Inherited by every worker: the process whose death has to end it.
_zygote_pid: int | None = None


def wall_zygote(config: Mapping[str, Any]) -> list[LayerReport]:
    """The zygote's part, once, in a fresh process with one thread, after all imports and before the first worker.

    Descriptor 3 is the control socket and stays; 0 and 1 become /dev/null, 2 stays the log, all else is closed. On
    return this is the process that shall serve, process 1 of its pid namespace where that engaged; the process that the
    daemon started then only waits for it and passes its exit status on (128 + n if signal n killed it). Never raises.
    The caller runs gc.freeze() afterwards.
    """
    global _zygote_pid
    reports = _apply("zygote", Wall(config, parent_pid=os.getppid(), is_root=os.geteuid() == 0))
    _zygote_pid = os.getpid()
    return reports


def wall_worker_start(config: Mapping[str, Any]) -> list[LayerReport]:
    """A worker's part straight after its fork from the zygote's main thread. Never raises.

    config["socket_fd"] becomes descriptor 3, all others are closed, 0 to 2 too. The caller detaches every socket object
    that it inherited, the control socket's above all: closing it would close the worker's own. From here on no
    descriptor can be made, and the socket takes blocking calls only (RLIMIT_NOFILE is 0, see rlimits).
    """
    return _apply("worker", Wall(config, parent_pid=os.getppid() if _zygote_pid is None else _zygote_pid))


def wall_worker_bind(memory_bytes: int, cpu_s: float, config: Mapping[str, Any]) -> list[LayerReport]:
    """The last of the wall: memory beyond what is mapped now, the CPU backstop, the filter. Never raises.

    Build the socket object of descriptor 3 before: behind the filter it could not be made any more.
    """
    return _apply("bind", Wall(config, parent_pid=0, memory_bytes=memory_bytes, cpu_s=cpu_s))


def bind_for_canary(memory_bytes: int, cpu_s: float, config: Mapping[str, Any]) -> list[LayerReport]:
    """`wall_worker_bind` for the canary alone: what would end the process answers `seccomp.CANARY_ERRNO`."""
    return _apply("bind", Wall(config, parent_pid=0, memory_bytes=memory_bytes, cpu_s=cpu_s, is_canary=True))


def missing(required: Iterable[str], reports: Iterable[LayerReport]) -> list[LayerReport]:
    """Those of the layers in `required` that did not engage, each with its reason."""
    return [report for report in summary(reports, required) if not report.engaged]


def _apply(stage: str, wall: Wall) -> list[LayerReport]:
    return [_engage(name, layer, wall) for at, name, layer in LAYERS if at == stage]


def _engage(name: str, layer: Layer, wall: Wall) -> LayerReport:
    if wall.skips(name):
        return LayerReport(name, False, "left out by the configuration")
    try:
        reason = layer(wall)
    except Exception as error:
        # Whatever goes wrong in a layer, the process is to go on to the next one: half a wall, reported, beats none.
        reason = f"{type(error).__name__}: {error}"
    return LayerReport(name, not reason, reason)
