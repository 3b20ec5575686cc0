"""What a pool may use, where several pools have one set of limits: slots, worker processes, what is kept ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..model.options import Options
from .scheduler import Scheduler


class PoolQuota(Protocol):
    """One pool's part of what the options allow in all."""

    @property
    def scheduler(self) -> Scheduler:
        """Gives the slots; the pool tells it how many the options name."""

    @property
    def is_first(self) -> bool:
        """Whether this pool logs what all of them find alike."""

    def share_worker_count(self, count: int) -> int:
        """Says how many workers this pool has; gives how many others have that count against max_workers too."""

    def has_idle_elsewhere(self) -> bool:
        """Whether other pools have idle workers, which they end where there is no room for children."""

    def options_of_pool(self, options: Callable[[], Options]) -> Callable[[], Options]:
        """The present options with this pool's part of what is kept ahead."""


class WholeQuota:
    """The quota of a pool that shares with nobody: all that the options allow."""

    is_first = True

    def __init__(self) -> None:
        self.scheduler = Scheduler(0, 0)

    def share_worker_count(self, count: int) -> int:
        """Nobody else has workers."""
        return 0

    def has_idle_elsewhere(self) -> bool:
        """Nobody else has workers."""
        return False

    def options_of_pool(self, options: Callable[[], Options]) -> Callable[[], Options]:
        """The options as they are."""
        return options
