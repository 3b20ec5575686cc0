"""Parents and children among executions: who belongs to whom, how many, how deep, who waits for what. Pure.

A tree is what came of one webhook call. What a parent waits for ends with it; what it does not wait for goes on.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..model.execution import Status


class ReturnWhen(enum.StrEnum):
    """When a wait for children is over."""

    ALL_SUCCEEDED = "ALL_SUCCEEDED"
    ALL_ENDED = "ALL_ENDED"
    FIRST_ENDED = "FIRST_ENDED"


@dataclass(slots=True)
class Tree:
    """Counts the children below one webhook call, at whatever depth; ended ones count too."""

    children: int = 0


@dataclass(slots=True)
class Child:
    """What a parent knows of a child. Its outputs are in the store: a thousand of them would not fit here.

    Those that are protected are not there, and are kept here as long as their parent runs.
    """

    id: str
    name: str
    status: Status = Status.PENDING
    message: str = ""
    # What it put out, where the record has masks; None where the record has it, or it could not be kept.
    output_json: bytes | bytearray | None = None
    is_output_lost: bool = False


@dataclass(slots=True)
class Family:
    """A running parent's children by id. `awaited`: the ids of those that it waits for now; they end with it.

    `kept_bytes`: how much of its children's outputs is kept here, and counts as buffered.
    """

    children: dict[str, Child] = field(default_factory=dict)
    awaited: frozenset[str] = frozenset()
    kept_bytes: int = 0
    on_change: Callable[[], None] | None = None

    def add(self, child: Child) -> None:
        """One more child."""
        self.children[child.id] = child

    def end(self, child: Child, status: Status, message: str) -> None:
        """A child ended; what waits for it looks again."""
        child.status, child.message = status, message
        if self.on_change is not None:
            self.on_change()

    def wait(self, children: Sequence[Child], when: ReturnWhen, decided: Callable[[list[Child]], None]) -> None:
        """Calls `decided` with the children whose end decides the wait: at once, or when the last of them ends."""
        result = wait_result(children, when)
        if result is not None:
            decided(result)
            return

        def look() -> None:
            result = wait_result(children, when)
            if result is not None:
                self.awaited, self.on_change = frozenset(), None
                decided(result)

        self.awaited = frozenset(child.id for child in children if not child.status.is_ended)
        self.on_change = look


def wait_result(children: Iterable[Child], when: ReturnWhen) -> list[Child] | None:
    """The children whose end decides a wait, None while it goes on.

    ALL_SUCCEEDED is decided by the first that does not succeed, or by the last success.
    """
    every = list(children)
    ended = [child for child in every if child.status.is_ended]
    if when is ReturnWhen.FIRST_ENDED:
        return ended[:1] if ended or not every else None
    if when is ReturnWhen.ALL_SUCCEEDED:
        failed = [child for child in ended if child.status is not Status.ENDED_SUCCESS]
        if failed:
            return failed
    return ended if len(ended) == len(every) else None
