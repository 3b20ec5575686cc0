"""/api/webhook/<client>/<webhook>: a call becomes an execution, the execution becomes an answer (CONTRACT 3).

What is here comes after all checks of the caller (guards.py): the permission of the webhook's user, the flow's code,
the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..errors import Misconfigured, Overloaded
from ..executions.active import ActiveExecution
from ..http.messages import Response
from ..model.answering import Answering
from ..model.call_rules import CallFilter
from ..model.execution import Execution
from ..pool.compiler import Code, refusal_faults
from ..wire.payload import Parsed
from .answers import accept_response, ended_response, head_response
from .call import Call, CallPlan, input_json
from .context import HandlerContext, log, success_response
from .repeats import Repeats, Reservation


class WebhookHandler:
    """The route WEBHOOK."""

    def __init__(self, context: HandlerContext) -> None:
        self._reloader = context.reloader
        self._runner = context.runner
        self._compiler = context.pool.compiler
        self._counts = context.counts
        self._repeats = Repeats(context, self._start_decided)
        self._handshakes = context.handshakes

    def run(
        self,
        call: Call[CallPlan],
        parsed: Parsed,
        code: Code | None = None,
        *,
        reservation: Reservation | None = None,
        is_decided: bool = False,
    ) -> None:
        """Starts the webhook's flow, or does what its rules say. Raises HttpError.

        `code`: the flow's; without it the one that is known, and if none is, all goes on once it is compiled.
        `reservation`: of the delivery, if it has an id. `is_decided`: the rules have been asked.
        """
        plan = call.plan
        webhook = plan.webhook
        if not is_decided and (webhook.handshake is not None or webhook.has_rules):
            if not self._is_handshake(call, parsed):
                self._ask_rules(call, parsed)
            return
        if plan.resolved is None:
            names = webhook.client_name, webhook.flow_name, webhook.user_name
            plan.resolved = self._runner.resolve(plan.snapshot, *names)
        flow, user = plan.resolved
        if code is None:
            code = self._compiler.known(flow)
            if code is None:
                go_on = partial(self.run, call, parsed, reservation=reservation, is_decided=True)
                self._compiler.compile(flow, call.then(go_on))
                return
        if code.refusal:
            fault = refusal_faults(flow, code.refusal)[0]
            self._reloader.refused(flow, fault, by_import=code.is_import_refused)
            raise Misconfigured("the webhook is misconfigured", log_detail=str(fault))
        respond = call.respond
        if plan.head.method == "HEAD":
            # As GET would be, and nothing runs. Senders probe like this before they register, whatever `methods` says.
            respond(head_response(webhook.answering, is_async=plan.is_async))
            return
        runner = self._runner
        flow = code.flow
        execution = Execution(
            "",
            webhook.client_name,
            flow.name,
            user.name,
            flow.script_hash,
            input_json(plan, parsed),
            webhook.name,
            webhook.name,
            show_script=webhook.show_script,
        )
        isolation = "execution" if user.isolation == "execution" else webhook.isolation
        active = runner.prepare(execution, flow, webhook.limits, isolation)
        if reservation is not None:
            self._start_reserved(call, active, reservation)
            return
        if plan.is_async:
            runner.start_async(active, call.then(partial(_answer_accepted, call, active)))
            return

        def ended(active: ActiveExecution) -> None:
            respond(end_response(active, webhook.answering))

        runner.start(active, ended, partial(self._stop_waiting, ended, call))

    def _is_handshake(self, call: Call[CallPlan], parsed: Parsed) -> bool:
        """Whether the sender asks for consent instead of delivering; then it has its answer."""
        plan = call.plan
        if plan.webhook.handshake is None:
            return False
        request = plan.webhook.handshake.request(plan.head, plan.query, parsed.picked)
        if len(request.secrets) > 1:
            # While a secret is rotated, the one that proved the caller is the one that it expects an answer by.
            proved = plan.webhook.caller_check.proved_by(plan.head, plan.proof, plan.query, parsed)
            request = replace(request, secrets=tuple(sorted(request.secrets, key=lambda secret: secret not in proved)))
        consent = self._handshakes.response(plan.webhook, request)
        if consent is not None:
            call.respond(consent)
        return consent is not None

    def _ask_rules(self, call: Call[CallPlan], parsed: Parsed) -> None:
        webhook = call.plan.webhook
        if webhook.only is not None and self._is_filtered(webhook.only, call, parsed):
            return
        if webhook.dedup is None or call.plan.head.method == "HEAD":
            self._start_decided(call, parsed, None)
        else:
            self._repeats.decide(call, parsed)

    def _start_decided(self, call: Call[CallPlan], parsed: Parsed, reservation: Reservation | None) -> None:
        self.run(call, parsed, reservation=reservation, is_decided=True)

    def _start_reserved(self, call: Call[CallPlan], active: ActiveExecution, reservation: Reservation) -> None:
        """Starts an execution with which its delivery is no longer free."""
        active.execution.delivery = reservation.delivery
        execution_id = active.execution.id

        def accepted(error: Exception | None) -> None:
            if error is None:
                reservation.begin(execution_id)
            _answer_accepted(call, active, error)

        def ended(active: ActiveExecution) -> None:
            call.respond(end_response(active, call.plan.webhook.answering))

        if call.plan.is_async:
            self._runner.start_async(active, call.then(accepted))
            return
        # First the word, as it may end at once.
        reservation.begin(execution_id)
        try:
            self._runner.start(active, ended, partial(self._stop_waiting, ended, call))
        except BaseException:
            reservation.withdraw()
            raise

    def _is_filtered(self, only: CallFilter, call: Call[CallPlan], parsed: Parsed) -> bool:
        """Whether `only` leaves the call out; then it is answered."""
        plan = call.plan
        webhook = plan.webhook
        mismatch = only.mismatch(plan.head.headers, plan.query.fields, parsed.picked)
        if not mismatch:
            return False
        if plan.head.method != "HEAD":
            self._counts.filtered += 1
            log.info("%s/%s: filtered: %s", webhook.client_name, webhook.name, mismatch)
        call.respond(success_response(webhook))
        return True

    def _stop_waiting(
        self, waiter: Callable[[ActiveExecution], None], call: Call[CallPlan], active: ActiveExecution
    ) -> None:
        """wait_s is over, or the daemon drains: 202 once the record is on disk; the flow goes on."""
        if active.remove_waiter(waiter):
            self._runner.make_async(active, call.then(partial(_answer_accepted, call, active)))


def _answer_accepted(call: Call[CallPlan], active: ActiveExecution, error: Exception | None) -> None:
    """202 once the record is on disk. `error`: what kept it from there."""
    if error is not None:
        raise Overloaded("the execution could not be written down", log_detail=str(error))
    webhook = call.plan.webhook
    has_location = webhook.status_check is not None
    call.respond(accept_response(active.execution, webhook.answering, has_location=has_location))


def end_response(active: ActiveExecution, answering: Answering | None = None) -> Response:
    """What a sync caller gets of an execution that has just ended."""
    return ended_response(active.execution, active.flow.script, active.response, answering)
