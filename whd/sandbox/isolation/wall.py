"""What a process knows of the wall that is being built around it. Values only; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Wall:
    """Passed from layer to layer of one process; a layer notes what later layers depend on.

    `config` members that layers read, all optional:
      skip                 names of layers that shall not be tried (tests; the daemon never sends it)
      socket_fd            a worker's socket before it becomes descriptor 3
      cgroup_memory_bytes  memory.max of all flows together, where a cgroup is delegated
      cgroup_processes     pids.max, likewise
    """

    config: Mapping[str, Any]
    parent_pid: int
    is_root: bool = False
    has_user_namespace: bool = False
    has_mount_namespace: bool = False
    has_pid_namespace: bool = False
    memory_bytes: int = 0
    cpu_s: float = 0.0
    is_canary: bool = False

    def skips(self, name: str) -> bool:
        """Whether the configuration leaves the layer out."""
        return name in self.config.get("skip", ())


# A layer: does its work, answers "" when engaged, else the reason; may raise OSError instead.
Layer = Callable[[Wall], str]
