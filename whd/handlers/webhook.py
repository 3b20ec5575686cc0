"""/api/webhook/<client>/<webhook>: a call becomes an execution, the execution becomes an answer (CONTRACT 3).

What is here comes after all checks of the caller (guards.py): the permission of the webhook's user, the flow's code,
the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..errors import Misconfigured, Overloaded
from ..executions.active import ActiveExecution
from ..model.execution import Execution
from ..pool.compiler import Code, refusal_faults
from ..wire.payload import Parsed
from .answers import accept_response, end_response, head_response
from .call import Call, CallPlan, input_json
from .context import HandlerContext


class WebhookHandler:
    """The route WEBHOOK."""

    def __init__(self, context: HandlerContext) -> None:
        self._reloader = context.reloader
        self._runner = context.runner
        self._compiler = context.pool.compiler
        self._handshakes = context.handshakes

    def run(self, call: Call[CallPlan], parsed: Parsed, code: Code | None = None) -> None:
        """Starts the webhook's flow. Raises HttpError.

        `code`: the flow's; without it the one that is known, and if none is, all goes on once it is compiled.
        """
        plan = call.plan
        webhook = plan.webhook
        if webhook.handshake is not None:
            request = webhook.handshake.request(plan.head, plan.query, parsed.picked)
            consent = self._handshakes.response(webhook, request)
            if consent is not None:
                call.respond(consent)
                return
        if plan.resolved is None:
            names = webhook.client_name, webhook.flow_name, webhook.user_name
            plan.resolved = self._runner.resolve(plan.snapshot, *names)
        flow, user = plan.resolved
        if code is None:
            code = self._compiler.known(flow)
            if code is None:
                self._compiler.compile(flow, call.then(partial(self.run, call, parsed)))
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
        if plan.is_async:
            runner.start_async(active, call.then(partial(_answer_accepted, call, active)))
            return

        def ended(active: ActiveExecution) -> None:
            respond(end_response(active, webhook.answering))

        runner.start(active, ended, partial(self._stop_waiting, ended, call))

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
