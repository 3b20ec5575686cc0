"""An execution that is active: what of it is only in memory, and who waits for its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..model.execution import Execution, Status
from ..model.options import Limits
from ..model.snapshot import Flow
from ..pool.job import FlowResponse, Job
from ..store.interface import Stored
from .family import Family, Tree
from .protection import Protection

# The epoch of an execution that is another node's by now.
DISOWNED = -1


@dataclass(slots=True, eq=False)
class ActiveExecution:
    """An execution that has not ended, or whose waiters have not heard of its end yet.

    The runner writes the fields; who else has something to say of an execution calls the runner, or a method below.
    `saved_status`: the status with which it was saved last, None for one that is to be saved anew. `response`: the
    flow's own answer. `counted_bytes`: how much of its input counts as buffered. `cancel_task`: ends an execution that
    is no flow (an outgoing call). `stop_waiting`: called with this, it sends the sync caller, if there is one, away
    with a 202. `epoch`: of the claim under which it runs, 0 for one that was accepted here (see queue.py), or DISOWNED.
    """

    execution: Execution
    flow: Flow
    limits: Limits
    isolation: str
    job: Job | None = None
    response: FlowResponse | None = None
    saved_status: Status | None = None
    counted_bytes: int = 0
    waiters: list[Callable[[ActiveExecution], None]] = field(default_factory=list)
    cancel_task: Callable[[], None] | None = None
    stop_waiting: Callable[[ActiveExecution], None] | None = None
    epoch: int = 0
    # Of a child: what of it is not written down, and as JSON, which values in its input are no plain dicts ("": none).
    protection: Protection | None = None
    kinds_json: str = ""
    # Of family.py. `known_tree`, `known_family`: what `tree` and `family` give, once they are needed.
    depth: int = 0
    known_tree: Tree | None = None
    known_family: Family | None = None

    @property
    def tree(self) -> Tree:
        """The tree that it belongs to. Made when it is first asked for: most executions have no children."""
        if self.known_tree is None:
            self.known_tree = Tree()
        return self.known_tree

    @property
    def family(self) -> Family:
        """Its children. Made when it is first asked for."""
        if self.known_family is None:
            self.known_family = Family()
        return self.known_family

    def join(self, parent: ActiveExecution) -> None:
        """Becomes one more child in its parent's tree."""
        self.depth = parent.depth + 1
        self.known_tree = tree = parent.tree
        tree.children += 1

    def run_with_modules(self, flow: Flow) -> None:
        """It begins to run, with those modules that the flow imports; they were not known when it was accepted."""
        self.flow = flow
        self.execution.script_hash = flow.script_hash

    def stored(self) -> Stored:
        """The record as it stands, with the script that runs."""
        return Stored(self.execution, self.flow.script)

    def add_waiter(self, waiter: Callable[[ActiveExecution], None]) -> None:
        """`waiter` is called when the execution has ended, or when nobody can wait for that any longer."""
        self.waiters.append(waiter)

    def remove_waiter(self, waiter: Callable[[ActiveExecution], None]) -> bool:
        """Forgets a waiter; False if it has been called already."""
        if waiter not in self.waiters:
            return False
        self.waiters.remove(waiter)
        return True

    def release_waiters(self) -> None:
        """Calls everybody who waits, with the record as it stands: it ended, or the daemon stops."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter(self)
