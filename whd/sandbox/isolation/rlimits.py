"""Layer rlimits: what the kernel counts for a process (getrlimit(2)), soft and hard limit the same.

The zygote gets what suits every worker, a worker what suits every flow, and bind what suits this one: memory and CPU.
"""

from __future__ import annotations

import math
import resource

from . import address_space
from .wall import Wall

# The zygote may write a log into a file and forks: neither FSIZE nor NPROC nor NOFILE.
_ZYGOTE = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_RTPRIO, 0),
)
_WORKER = (
    (resource.RLIMIT_FSIZE, 0),
    # Below the socket, which stays usable: 0 to 2 are free, and no call shall make a descriptor there. Costs poll(2),
    # which refuses more descriptors than this; a worker reads and writes its socket with blocking calls.
    (resource.RLIMIT_NOFILE, 0),
    (resource.RLIMIT_NPROC, 0),
)

# What the zygote mapped: a worker's first guess at its own size.
_zygote_bytes = 0


def cpu_backstop_s(cpu_s: float) -> int:
    """Seconds of CPU after which the kernel kills a worker, over its whole life, all executions together.

    Far above one execution's limit, which the daemon's clock keeps; this only ends what the daemon has lost sight of.
    A pool that reuses a worker replaces it before its life comes within `cpu_s` of this.
    """
    return 60 + 10 * math.ceil(cpu_s)


def for_zygote(wall: Wall) -> str:
    """No core dumps, no locked memory, no message queues, no real-time priority. Raises OSError."""
    global _zygote_bytes
    _zygote_bytes = address_space.mapped_bytes() or 0
    return _lower(_ZYGOTE)


def for_worker(wall: Wall) -> str:
    """No files, no descriptors beyond the socket, no processes. Raises OSError."""
    return _lower(_WORKER)


def for_flow(wall: Wall) -> str:
    """`memory_bytes` beyond what the process maps now, and the CPU backstop. Raises OSError.

    Past the memory limit, allocation fails and Python raises MemoryError; past the CPU limit comes SIGKILL.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = math.ceil(used.ru_utime + used.ru_stime) + cpu_backstop_s(wall.cpu_s)
    mapped = address_space.mapped_bytes(_zygote_bytes)
    if mapped is None:
        return "the size of the address space could not be measured; the memory limit is not set"
    return _lower(((resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_AS, mapped + wall.memory_bytes)))


def _lower(limits: tuple[tuple[int, int], ...]) -> str:
    for kind, value in limits:
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))
    return ""
