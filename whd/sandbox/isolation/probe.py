"""Runs a function in a worker that is walled like every other: for the canary, doctor and measurements.

Called in a zygote that has its wall. The worker's descriptor 3 is a pipe here; what the function answers comes back
through it as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import layers
from .descriptors import SOCKET_FD
from .report import LayerReport

# Small, but with room for what a probe allocates.
_MEMORY_BYTES = 16 * 1024 * 1024
_CPU_S = 1.0
_FAILED = 70  # sysexits.h, EX_SOFTWARE


class ProbeOutcome(NamedTuple):
    """How a worker ended: `exit_code` is -n for signal n (os.waitstatus_to_exitcode); its answer, None if none."""

    exit_code: int
    answer: Any


def run_in_worker(
    config: Mapping[str, Any], work: Callable[[list[LayerReport]], Any], *, is_canary: bool = False
) -> ProbeOutcome:
    """`work` gets the reports of the worker's own stages; its answer has JSON types. Raises OSError if fork fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _serve(writing, config, work, is_canary)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return ProbeOutcome(os.waitstatus_to_exitcode(status), json.loads(answer) if answer else None)


def _serve(writing: int, config: Mapping[str, Any], work: Callable[[list[LayerReport]], Any], is_canary: bool) -> None:
    status = _FAILED
    try:
        reports = layers.wall_worker_start({**config, "socket_fd": writing})
        bind = layers.bind_for_canary if is_canary else layers.wall_worker_bind
        reports += bind(_MEMORY_BYTES, _CPU_S, config)
        answer = json.dumps(work(reports)).encode("ascii")
        while answer:
            answer = answer[os.write(SOCKET_FD, answer) :]
        status = 0
    finally:
        os._exit(status)
