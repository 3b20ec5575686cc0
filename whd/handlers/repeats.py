"""`dedup`: the first delivery with an id runs, its repeats get what came of it (SENDERS 4).

A call is reserved before its flow is looked up. Whatever answers it before its execution has begun (403, 503, a fault)
shows that none comes of it, and gives the id free.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from ..errors import HttpError, IdempotencyKeyReused, Overloaded, StateError
from ..executions.responses import read_response
from ..futures import value_of
from ..http.messages import Response
from ..model.delivery import Delivery
from ..model.execution import Status
from ..store.interface import Conflict, DeliveryTable, Repeat, Reserved, Stored
from ..wire.payload import Parsed
from .answers import accept_response, ended_response
from .call import Call, CallPlan
from .context import HandlerContext, json_response

log = logging.getLogger("whd.handlers")

# While an execution is nowhere to be found, though it has begun: its process hangs or is gone just now.
ASK_AGAIN_S: Final = 0.1
TRIES_S: Final = 10.0
# How often it is looked whether what runs in another process is still there.
WAIT_PIECE_S: Final = 1.0


class Reservation:
    """An id that one call has for itself until its execution begins."""

    __slots__ = ("_deliveries", "_has_begun", "_number", "delivery")

    def __init__(self, deliveries: DeliveryTable, number: int, delivery: Delivery) -> None:
        self._deliveries = deliveries
        self._number = number
        self._has_begun = False
        self.delivery = delivery.to_text()

    def begin(self, execution_id: str) -> None:
        """An execution comes of it."""
        self._has_begun = True
        self._deliveries.begin(self._number, execution_id)

    def release(self) -> None:
        """None comes of it, if none has begun."""
        if not self._has_begun:
            self._deliveries.release(self._number)

    def withdraw(self) -> None:
        """It began, and could not start."""
        self._deliveries.release(self._number)


# Goes on with a call that is the first with its id, or has none (None).
Start = Callable[[Call[CallPlan], Parsed, Reservation | None], None]


class Repeats:
    """Decides for each call of a webhook with `dedup` whether it runs."""

    def __init__(self, context: HandlerContext, start: Start) -> None:
        self._loop = context.loop
        self._lookup = context.lookup
        self._counts = context.counts
        self._deliveries = context.deliveries
        self._start = start
        self._tasks: set[asyncio.Task[None]] = set()

    def decide(self, call: Call[CallPlan], parsed: Parsed) -> None:
        """Starts the call, now or later, or answers it as the repeat that it is. Raises HttpError."""
        plan = call.plan
        webhook = plan.webhook
        rule = webhook.dedup
        assert rule is not None
        delivery = rule.delivery(
            (webhook.client_name, webhook.name),
            webhook.caller_check.proved_by(plan.head, plan.proof, plan.query, parsed),
            plan.head.headers,
            plan.query.fields,
            parsed.picked,
            call.body_digest,
            time.time_ns() // 1_000_000,
        )
        if delivery is None:
            self._start(call, parsed, None)
            return
        decided = partial(self._decided, call, parsed, delivery)
        self._deliveries.reserve(delivery, call.then(decided), is_unique=rule.is_unique)

    def _decided(
        self,
        call: Call[CallPlan],
        parsed: Parsed,
        delivery: Delivery,
        outcome: Reserved | Repeat | Conflict | Exception,
    ) -> None:
        if isinstance(outcome, Reserved):
            self._start_first(call, parsed, delivery, outcome)
        elif isinstance(outcome, Repeat):
            task = self._loop.create_task(self._answer_repeat(call, parsed, delivery, outcome))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(call.then(partial(_raise_error, call)))
        elif isinstance(outcome, Conflict):
            raise IdempotencyKeyReused
        else:
            raise Overloaded("it cannot be known now whether this delivery is a repeat", log_detail=str(outcome))

    def _start_first(self, call: Call[CallPlan], parsed: Parsed, delivery: Delivery, reserved: Reserved) -> None:
        webhook = call.plan.webhook
        if reserved.is_reused:
            self._counts.reused_ids += 1
            log.info("%s/%s: id reused: another body came with it before", webhook.client_name, webhook.name)
        reservation = Reservation(self._deliveries, reserved.number, delivery)

        def respond(response: Response) -> None:
            reservation.release()
            call.respond(response)

        first = Call(call.plan, respond)

        def start(_nothing: None) -> None:
            try:
                self._start(first, parsed, reservation)
            except HttpError:
                raise  # answered, which releases it
            except BaseException:
                reservation.release()
                raise

        first.then(start)(None)

    async def _answer_repeat(self, call: Call[CallPlan], parsed: Parsed, delivery: Delivery, repeat: Repeat) -> None:
        rule = call.plan.webhook.dedup
        assert rule is not None
        deadline = self._loop.time() + TRIES_S
        while True:
            response = await self._response(call.plan, repeat)
            if response is not None:
                self._counts.replayed += 1
                call.respond(_replayed(response))
                return
            outcome = await value_of(
                partial(
                    self._deliveries.reserve,
                    delivery,
                    instead_of=repeat.execution_id,
                    is_unique=rule.is_unique,
                )
            )
            if not isinstance(outcome, Repeat):
                self._decided(call, parsed, delivery, outcome)
                return
            if outcome.execution_id == repeat.execution_id:
                if self._loop.time() > deadline:
                    raise Overloaded("the execution of the first delivery cannot be found now")
                await asyncio.sleep(ASK_AGAIN_S)
            repeat = outcome

    async def _response(self, plan: CallPlan, repeat: Repeat) -> Response | None:
        """What a repeat gets; None if the first does not count, as it failed or is nowhere to be found."""
        rule = plan.webhook.dedup
        assert rule is not None
        try:
            stored = await self._lookup.get(repeat.execution_id)
            if stored is None:
                return _response_of_gone(repeat, runs_after_error=rule.runs_after_error)
            execution = stored.execution
            if execution.status.is_ended:
                if execution.status is not Status.ENDED_SUCCESS and rule.runs_after_error:
                    return None
            elif not (plan.is_async and execution.is_async):
                # An async caller is promised what survives a restart: that of a sync one does from wait_s on.
                found = await self._wait(stored, plan.webhook.limits.wait_s)
                if found is None:
                    return None
                stored, execution = found, found.execution
        except StateError as error:
            raise Overloaded("the execution of the first delivery cannot be read now", log_detail=str(error)) from None
        if plan.is_async or not execution.status.is_ended:
            has_location = plan.webhook.status_check is not None
            return accept_response(execution, plan.webhook.answering, has_location=has_location)
        own = read_response(execution.response_json)
        return ended_response(execution, stored.script, own, plan.webhook.answering)

    async def _wait(self, stored: Stored, wait_s: float) -> Stored | None:
        """The record when the execution has ended, or as it stands after wait_s or when the daemon stops.

        None: it is gone with its process, before it was ever recorded.
        """
        deadline = self._loop.time() + wait_s
        while (left := deadline - self._loop.time()) > 0:
            piece_s = min(left, WAIT_PIECE_S)
            began = self._loop.time()
            stored = await self._lookup.wait(stored, piece_s)
            if stored.execution.status.is_ended or self._loop.time() - began < piece_s:
                break
            found = await self._lookup.get(stored.execution.id)
            if found is None:
                return None
            stored = found
        return stored


def _response_of_gone(repeat: Repeat, *, runs_after_error: bool) -> Response | None:
    """Of an execution whose record is gone: by retention, if it had ended."""
    if not repeat.status.is_ended or (repeat.status is not Status.ENDED_SUCCESS and runs_after_error):
        return None
    execution_id = repeat.execution_id
    return json_response(200, {"id": execution_id, "execution_id": execution_id, "status": repeat.status})


def _replayed(response: Response) -> Response:
    return Response(response.status, (*response.headers, (b"idempotent-replayed", b"true")), response.body)


def _raise_error(call: Call[CallPlan], task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, HttpError):
        raise error
    if error is not None:
        # A task has nobody above it: without an answer here the caller would wait for ever.
        log.error("a repeat for %s/%s", call.plan.webhook.client_name, call.plan.webhook.name, exc_info=error)
        raise HttpError("internal error")
