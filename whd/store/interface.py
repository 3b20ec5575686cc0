"""What a store of executions offers to the rest of the daemon, whatever keeps the records.

Every method is called on the loop and every callback arrives there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..model.execution import Execution, Status

Done = Callable[[Exception | None], None]


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and the source that ran, None if nobody ever gave it to the store."""

    execution: Execution
    script: str | None


Found = Callable[[Stored | None, Exception | None], None]
# Inside a class that has a method `list`, the name means that method.
Records = list[Stored]
Summaries = list[Execution]


@dataclass(frozen=True, slots=True)
class StoreCounters:
    """What `whd status` says of the store. `fault`: "" or why nothing can be written now (it names the file)."""

    written: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    commits: int = 0
    last_commit_ms: float = 0.0
    lost: int = 0
    file_bytes: int = 0
    fault: str = ""


class ExecutionStore(Protocol):
    """Keeps executions. A record is taken as it is at the call; the store keeps no reference to it."""

    @property
    def fault(self) -> str:
        """Why nothing can be written now, "" if all is well."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written that new calls should be refused."""

    def accept(self, execution: Execution, script: str | None, done: Done) -> None:
        """Keeps a record for good: `done(None)` once a power cut cannot undo it, else `done(error)`: it is not kept."""

    def save_nowait(self, execution: Execution, script: str | None) -> None:
        """Keeps a record within a second, in place of an earlier version of it."""

    def when_room(self, done: Callable[[], None]) -> None:
        """Calls `done` at once or, while the disk lags behind, when what waits now is written; never never."""

    async def get(self, execution_id: str) -> Stored | None:
        """The record with all that was saved before the call, None if there is none. Raises StateError."""

    async def list(
        self,
        client: str | None = None,
        status: Status | None = None,
        webhook: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Summaries:
        """The newest that match, without input, output, response and log. `before`: only older ones than this id."""

    async def unfinished(self) -> Records:
        """What is PENDING or RUNNING, the oldest first: for the start, before anything runs."""

    async def flush(self) -> None:
        """Returns when all that was saved before the call is on disk. Raises StateError."""

    async def close(self) -> None:
        """Writes what waits and lets go of the store. Raises StateError naming how many records were lost."""

    def counters(self) -> StoreCounters:
        """Figures for `whd status`."""
