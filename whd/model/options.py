"""The daemon's options: one schema for whd.yaml, `whd serve --help`, webhook limits and the docs.

A field's metadata says what it means, its smallest value and whether a change is live. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any

# The names of sandbox/isolation/layers.py; a test holds that none is missing.
SANDBOX_LAYERS = (
    "empty_environment", "closed_fds", "cgroup", "namespaces", "empty_root", "capabilities", "user", "no_new_privs",
    "landlock", "rlimits", "mdwe", "dumpable", "seccomp", "parent_death",
)  # fmt: skip


def _option(
    default: Any,
    text: str,
    *,
    minimum: float = 0,
    choices: tuple[str, ...] = (),
    live: bool = True,
) -> Any:
    return field(
        default=default,
        metadata={
            "text": text,
            "minimum": minimum,
            "choices": choices,
            "live": live,
        },
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one execution may use. A webhook may tighten each of these for itself, never loosen one."""

    max_body_bytes: int = _option(26_214_400, "largest request body (25 MiB, the largest that GitHub sends)", minimum=1)
    wait_s: float = _option(30.0, "how long a sync caller waits before it gets a 202 instead")
    timeout_s: float = _option(300.0, "wall-clock time of an execution", minimum=0.001)
    cpu_s: float = _option(60.0, "CPU time of an execution", minimum=0.001)
    memory_bytes: int = _option(268_435_456, "memory that a flow may take", minimum=1_048_576)
    max_output_bytes: int = _option(8_388_608, "largest output_value, as JSON", minimum=2)
    max_log_bytes: int = _option(1_048_576, "largest log of one execution")
    max_calls: int = _option(100_000, "requests of one execution to the daemon")
    max_children: int = _option(1_000, "child executions in the whole tree below a webhook call")
    max_depth: int = _option(32, "how deep child executions may nest")


@dataclass(frozen=True, slots=True)
class Options(Limits):
    """whd.yaml with its defaults filled in. An Options is also the widest Limits that any webhook has."""

    listen: tuple[str, ...] = _option(("127.0.0.1:8080",), "where to listen: HOST:PORT or unix:/path", live=False)
    processes: int = _option(
        0, "front processes on one address, see docs/processes.md; 0: one for every two cores, at most 8", live=False
    )
    workers: int = _option(0, "flows that run at once, over all fronts; 0: twice the cores")
    max_workers: int = _option(
        2_048, "worker processes in all, parked ones included; a quarter is kept for child executions", minimum=2
    )
    max_idle_workers: int = _option(32, "idle workers kept; beyond it the longest idle end within 2 s")
    spare_workers: int = _option(2, "workers forked and walled in ahead of need")
    isolation: str = _option(
        "user", "user: executions of one user share processes; execution: a process each", choices=("user", "execution")
    )
    sandbox_require: tuple[str, ...] = _option(
        ("seccomp", "no_new_privs", "rlimits"),
        "layers without which the daemon refuses to serve; `whd doctor` lists them",
        choices=SANDBOX_LAYERS,
        live=False,
    )
    max_queue: int = _option(1_000, "waiting calls per client", minimum=1)
    max_buffered_bytes: int = _option(536_870_912, "bodies being read and queued payloads in all", minimum=1)
    max_saved_bytes: int = _option(104_857_600, "settings and files that flows saved, per client")
    max_connections: int = _option(10_000, "open connections in all", minimum=1)
    max_header_bytes: int = _option(65_536, "largest header section", minimum=256)
    max_target_bytes: int = _option(8_192, "longest request target", minimum=16)
    header_timeout_s: float = _option(10.0, "time for a request's header to arrive", minimum=0.001)
    body_timeout_s: float = _option(30.0, "time for a request's body to arrive", minimum=0.001)
    idle_timeout_s: float = _option(75.0, "how long an idle connection is kept", minimum=0.001)
    drain_s: float = _option(30.0, "time for what is in flight when the daemon stops")
    retention_minutes: float = _option(10_080.0, "how long ended executions are kept")
    max_store_bytes: int = _option(2_147_483_648, "size of the execution store; the oldest ended go first", minimum=1)
    show_script: bool = _option(True, "answers carry the flow's source")
    log_level: str = _option("info", "least level that is logged", choices=("debug", "info", "warning", "error"))
    log_format: str = _option("auto", "how log lines look", choices=("auto", "text", "json", "journal"))


def option_fields() -> Iterator[Field[Any]]:
    """Every option in the order of whd.yaml's documentation."""
    own = [f for f in fields(Options) if f.name not in LIMIT_NAMES]
    yield from own
    yield from (f for f in fields(Options) if f.name in LIMIT_NAMES)


LIMIT_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Limits))
