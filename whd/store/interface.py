"""What a store of executions offers to the rest of the daemon, whatever keeps the records.

A second store implements `ExecutionStore`, and `ExecutionReader` for processes that read beside it, and is chosen in
store/opening.py; nothing else knows what keeps the records. tests/store/test_conformance.py holds what each must do.

Every method is called on the loop and every callback arrives there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ..model.delivery import Delivery
from ..model.execution import Execution, Status
from .rows import Row

_log = logging.getLogger(__name__)

Done = Callable[[Exception | None], None]


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and the source that ran, None if nobody ever gave it to the store."""

    execution: Execution
    script: str | None


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


@dataclass(frozen=True, slots=True)
class Reserved:
    """The delivery is the first. `number`: of the reservation. `is_reused`: its id came with another body before."""

    number: int
    is_reused: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """An execution came of it before. `status`: as it is known here, which may be an older one than its record's."""

    execution_id: str
    status: Status


@dataclass(frozen=True, slots=True)
class Conflict:
    """Its id came with another body before, and was to be unique."""


Decided = Callable[[Reserved | Repeat | Conflict | Exception], None]


class DeliveryTable(Protocol):
    """Called on the loop; answers arrive there, perhaps at once."""

    def reserve(
        self,
        delivery: Delivery,
        decided: Decided,
        *,
        instead_of: str = "",
        is_unique: bool = False,
        holder: object = None,
    ) -> None:
        """Asks whether the delivery is the first with its id; StateError if that cannot be known.

        `instead_of`: an execution that came of it and shall not count, as it failed or its record is nowhere. What runs
        still counts. `is_unique`: another body with the id is a Conflict. `holder`: who reserves, for `abandon`.
        """

    def begin(self, number: int, execution_id: str) -> None:
        """An execution comes of a reservation. Harmless for one that is over."""

    def release(self, number: int) -> None:
        """None comes of it, also after `begin`. Harmless for one that is over."""

    def abandon(self, holder: object) -> None:
        """The holder is gone: what it reserved and nobody recorded is free."""


class ExecutionReader(Protocol):
    """Finds executions. Each method raises StateError where the records cannot be read, and after `close`."""

    async def get(self, execution_id: str) -> Stored | None:
        """The record, None if there is none; also for what is no id."""

    async def list(
        self,
        client: str | None = None,
        status: Status | None = None,
        webhook: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Summaries:
        """The newest that match, without input, output, response and log. `before`: only older ones than this id.

        Raises ValueError for a `before` that is no id.
        """

    async def unfinished(self) -> Records:
        """What is PENDING or RUNNING, the oldest first: for the start, before anything runs."""

    async def close(self) -> None:
        """Lets go of what it reads; harmless twice."""


class ExecutionStore(ExecutionReader, Protocol):
    """Keeps executions. A record is taken as it is at the call; the store keeps no reference to it.

    What it finds is all that was saved in it before the call, written or not; while a fault stands, `list` and
    `unfinished` may find only what was written.
    """

    deliveries: DeliveryTable
    """Which deliveries are repeats; it learns of the records that are saved here."""

    @property
    def fault(self) -> str:
        """Why nothing can be written now, "" if all is well. It names the file: for the operator, not for callers."""

    @property
    def is_detached(self) -> bool:
        """Whether `fault` says that the next start would not find what is written now: only a restart helps."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written that new calls should be refused."""

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that `when_room` makes callers wait."""

    def accept(self, execution: Execution, script: str | None, done: Done) -> None:
        """Keeps a record for good: `done(None)` once a power cut cannot undo it, else `done(error)`: it is not kept.

        While a fault stands, the answer is an error at once, but never before `accept` returns.
        """

    def accept_row(self, row: Row, script: str | None, done: Done) -> None:
        """`accept` of a record that was taken elsewhere (rows.to_row)."""

    def save_nowait(self, execution: Execution, script: str | None) -> None:
        """Keeps a record within a second, in place of an earlier version of it. Raises StateError after `close`.

        The path of every sync call: about 1 µs, no I/O.
        """

    def save_row(self, row: Row, script: str | None) -> None:
        """`save_nowait` of a record that was taken elsewhere."""

    def when_room(self, done: Callable[[], None]) -> None:
        """Calls `done` at once or, while the disk lags behind, when what waits now is written or cannot be."""

    async def flush(self) -> None:
        """Returns when all that was saved before the call is on disk. Raises StateError."""

    async def close(self) -> None:
        """Writes what waits and lets go of the store. Raises StateError naming how many records were lost."""

    def counters(self) -> StoreCounters:
        """Figures for `whd status`."""


def answer_all(results: Iterable[tuple[Done, Exception | None]]) -> None:
    """Answers everyone who waits; one whose callback fails keeps no other from its answer."""
    for done, error in results:
        try:
            done(error)
        except Exception:
            _log.exception("a caller of the store failed on the answer to its write")
