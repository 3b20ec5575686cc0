"""An execution that is alive: what of it is only in memory, and who waits for its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..model.execution import Execution, Status
from ..model.options import Limits
from ..model.snapshot import Flow
from ..pool.job import FlowResponse, Job
from .family import Family, Tree


@dataclass(slots=True, eq=False)
class ActiveExecution:
    """An execution that has not ended, or whose end is being told.

    `response`: the flow's own answer. `tree`, `family`, `depth`: see family.py. `cancel_task`: ends an execution that
    is no flow (an outgoing call). `stop_waiting`: called with this, it sends the sync caller, if there is
    one, away with a 202. `known_tree`, `known_family`: what `tree` and `family` give, once they are needed.
    """

    execution: Execution
    flow: Flow
    limits: Limits
    isolation: str
    job: Job | None = None
    response: FlowResponse | None = None
    saved: Status | None = None
    counted_bytes: int = 0
    waiters: list[Callable[[ActiveExecution], None]] = field(default_factory=list)
    depth: int = 0
    cancel_task: Callable[[], None] | None = None
    stop_waiting: Callable[[ActiveExecution], None] | None = None
    known_tree: Tree | None = None
    known_family: Family | None = None

    @property
    def tree(self) -> Tree:
        """Made when it is first asked for: most executions have no children."""
        if self.known_tree is None:
            self.known_tree = Tree()
        return self.known_tree

    @property
    def family(self) -> Family:
        """The same."""
        if self.known_family is None:
            self.known_family = Family()
        return self.known_family

    def remove_waiter(self, waiter: Callable[[ActiveExecution], None]) -> None:
        """Forgets who waited; harmless when the end has been told."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def release_waiters(self) -> None:
        """Tells everybody who waits how it stands, though it has not ended: the daemon stops."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter(self)
