"""What runs again: an execution that this node claimed from the queue, and on an operator's word one that ended.

After a restart only the topmost execution of a tree runs again, and only one that is async; the others end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..errors import Forbidden, Misconfigured, NotFound, WhdError
from ..futures import done_of
from ..model.execution import Cause, Event, Execution
from ..model.options import Limits
from ..model.snapshot import Snapshot, User, Webhook
from ..store.interface import ExecutionStore
from .active import ActiveExecution
from .lookup import Lookup
from .protection import NOT_KEPT
from .queue import Claim, Queue
from .runner import Runner, now_ms

MAX_ATTEMPTS = 3
# How many are claimed at once.
CLAIM_COUNT = 64


def limits_now(snapshot: Snapshot, execution: Execution, user: User) -> tuple[Limits, str]:
    """Limits and isolation for an execution that comes from no request: its webhook's as it stands now."""
    client = snapshot.clients.get(execution.client_name)
    webhook = client.webhooks.get(execution.webhook_name) if client is not None else None
    is_strict = user.isolation == "execution"
    if isinstance(webhook, Webhook):
        return webhook.limits, "execution" if is_strict else webhook.isolation
    return snapshot.options, "execution" if is_strict else snapshot.options.isolation


class Reruns:
    """Gives the runner what it is to run once more."""

    def __init__(
        self, runner: Runner, lookup: Lookup, queue: Queue, store: ExecutionStore, snapshot: Callable[[], Snapshot]
    ) -> None:
        self._runner = runner
        self._lookup = lookup
        self._queue = queue
        self._store = store
        self._snapshot = snapshot

    async def resume(self) -> int:
        """After a start: claims all that there is; how many of it run again. Raises StateError."""
        count = 0
        while claims := await self._queue.claim(CLAIM_COUNT):
            count += sum(map(self.adopt, claims))
        return count

    def adopt(self, claim: Claim) -> bool:
        """Has a claimed execution run from its beginning. False: it may not, and its record says why it ended."""
        execution = claim.stored.execution
        reason = _cannot_run_again(execution)
        if reason is None:
            snapshot = self._snapshot()
            names = execution.client_name, execution.flow_name, execution.user_name
            try:
                flow, user = self._runner.resolve(snapshot, *names)
            except (Misconfigured, Forbidden) as error:
                reason = f"it could not run again after a restart: {error.log_detail}"
        if reason is not None:
            self._end_interrupted(claim, reason)
            return False
        execution.apply(Event.REQUEUE, now_ms=now_ms())
        execution.log.clear()
        execution.script_hash = flow.script_hash
        limits, isolation = limits_now(snapshot, execution, user)
        self._runner.run_claimed(ActiveExecution(execution, flow, limits, isolation, epoch=claim.epoch))
        return True

    def _end_interrupted(self, claim: Claim, reason: str) -> None:
        execution = claim.stored.execution
        if self._runner.finish_claim(execution, claim.epoch):
            execution.message, execution.cause = reason, Cause.INTERRUPTED
            execution.apply(Event.CANCEL if execution.parent_id else Event.FAIL, now_ms=now_ms())
            self._store.save_nowait(execution, claim.stored.script)

    async def replay(self, execution_id: str) -> ActiveExecution:
        """Runs an ended execution's input again with the present flow, as a new async one of the same webhook.

        Raises NotFound, Misconfigured, Forbidden, Overloaded; WhdError for one whose inputs are not kept; StateError
        if it cannot be written down.
        """
        stored = await self._lookup.get(execution_id)
        if stored is None:
            raise NotFound(f"there is no execution {execution_id}")
        old = stored.execution
        if old.is_masked:
            raise WhdError(f"execution {execution_id} cannot run again: {NOT_KEPT.partition('; ')[2]}")
        snapshot = self._snapshot()
        flow, user = self._runner.resolve(snapshot, old.client_name, old.flow_name, old.user_name)
        limits, isolation = limits_now(snapshot, old, user)
        active = self._runner.prepare(
            Execution(
                id="",
                client_name=old.client_name,
                flow_name=old.flow_name,
                user_name=old.user_name,
                script_hash="",
                input_json=old.input_json,
                webhook_name=old.webhook_name,
                key_webhook_name=old.key_webhook_name,
                show_script=old.show_script,
                replay_of=old.id,
            ),
            flow,
            limits,
            isolation,
        )
        await done_of(partial(self._runner.start_async, active))
        return active


def _cannot_run_again(execution: Execution) -> str | None:
    if execution.is_masked:
        return NOT_KEPT
    if execution.parent_id:
        return "its parent was interrupted by a restart"
    if not execution.is_async:
        return "interrupted by a restart"
    if execution.attempts >= MAX_ATTEMPTS:
        return f"interrupted by a restart in each of {execution.attempts} attempts"
    return None
