"""The wall around a worker: a module per kernel mechanism, applied in one visible order (`layers.LAYERS`).

In the zygote:      reports = wall_zygote({})             once, after all imports; may fork, descriptor 3 survives
                    failures = canary({}, reports)        forks two workers; empty when the wall holds
In each worker:     wall_worker_start({"socket_fd": fd})  straight after fork; fd becomes 3, nothing else is open
                    wall_worker_bind(bytes, cpu_s, {})    the last of all; then only seccomp.ALLOWED is left
In the daemon:      missing(sandbox_require, reports)     what the zygote and its workers reported and must not lack
In the command:     doctor()                              a probe of all stages on this host

Layers never raise; one that this host lacks is reported with the reason, and the others engage all the same.
Nothing here imports more of whd than itself, so that the zygote starts clean.
"""

from __future__ import annotations

from .canary import canary
from .doctor import doctor
from .layers import LAYERS, REQUIRABLE, missing, wall_worker_bind, wall_worker_start, wall_zygote
from .report import LayerReport, summary
from .rlimits import cpu_backstop_s

__all__ = [
    "LAYERS",
    "REQUIRABLE",
    "LayerReport",
    "canary",
    "cpu_backstop_s",
    "doctor",
    "missing",
    "summary",
    "wall_worker_bind",
    "wall_worker_start",
    "wall_zygote",
]
