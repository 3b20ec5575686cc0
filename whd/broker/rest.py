"""Outgoing HTTP calls: this.task('REST') and this.connect, as child executions that are no flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..auth.connections import Target, check_url
from ..auth.permissions import Action, PermissionDenied
from ..auth.urls import BadUrl
from ..executions.active import ActiveExecution
from ..executions.protection import protected_task
from ..executions.runner import Runner
from ..model.execution import Execution, Status
from ..pool.payload_parser import PayloadParser
from ..rest import (
    InputError,
    RestClient,
    RestError,
    RestFault,
    RestLimits,
    RestRequest,
    RestResult,
    json_text,
    output_json,
    output_of,
    request_from_inputs,
)
from ..rest.client import Outcome
from ..wire.masking import MASK
from ..wire.strict_json import MAX_DEPTH, is_quick
from .broker import Broker, CallHandler
from .call import CallError, FlowCall, invalid, json_bytes
from .executions import ExecutionCalls

CONNECTORS = ("REST",)
MAX_BODY_BYTES = 8_388_608


class RestCalls:
    """The call task.start."""

    def __init__(
        self,
        broker: Broker,
        executions: ExecutionCalls,
        runner: Runner,
        client: RestClient,
        payload_parser: PayloadParser,
    ) -> None:
        self._broker = broker
        self._executions = executions
        self._runner = runner
        self._client = client
        self._payload_parser = payload_parser
        self.table: dict[str, CallHandler] = {"task.start": self._start}

    def _start(self, call: FlowCall) -> bytes | None:
        """{connector, inputs, name}: {id}. The call is on its way when the answer comes."""
        connector = call.text("connector")
        if connector not in CONNECTORS:
            raise invalid(f"there is no task type {connector!r}; available: {', '.join(CONNECTORS)}")
        inputs = call.mapping("inputs")
        try:
            request = request_from_inputs(inputs)
            _client, user = self._broker.who(call)
            target = check_url(user, connector, request.url)
        except InputError as error:
            raise CallError(error.kind, str(error)) from None
        except BadUrl as error:
            raise invalid(str(error)) from None
        except PermissionDenied as error:
            if "url" not in call.texts_or_none("protect_inputs"):
                raise
            # Which host it was helps; the rest may be the secret.
            origin = "/".join(error.record.split("/")[:3])
            raise PermissionDenied(error.user_name, error.action, f"{origin}/{MASK}") from None
        parent = self._executions.active(call)
        active = self._prepare(call, parent, connector, inputs, target)
        if not self._executions.admit(call, parent, active):
            return None
        self._run(call, active, connector, request)
        return json_bytes({"id": active.execution.id})

    def _prepare(
        self, call: FlowCall, parent: ActiveExecution, connector: str, inputs: Mapping[str, Any], target: Target
    ) -> ActiveExecution:
        own = parent.execution
        names, outputs = call.texts_or_none("protect_inputs"), call.texts_or_none("protect_outputs")
        written, protection = protected_task(inputs, names, outputs, (target.shown, target.path))
        is_masked = written != inputs
        execution = Execution(
            id="",
            client_name=own.client_name,
            flow_name=connector,
            user_name=own.user_name,
            script_hash="",
            input_json=json_bytes(written) if is_masked else call.json("inputs"),
            name=call.text_or_none("name") or "",
            kind="TASK",
            show_script=False,
            is_masked=is_masked,
        )
        return self._runner.prepare_child(execution, parent.flow, parent, protection, "")

    def _run(self, call: FlowCall, active: ActiveExecution, connector: str, request: RestRequest) -> None:
        limits = active.limits
        rest_limits = RestLimits(
            timeout_s=limits.timeout_s, max_body_bytes=min(MAX_BODY_BYTES, limits.max_output_bytes)
        )

        def authorize(url: str) -> Any:
            # Asked again for each redirect, with the rights as they stand then.
            _client, user = self._broker.who(call)
            return check_url(user, connector, url)

        outcome = partial(self._on_outcome, active, call)
        self._runner.run_task(active, lambda: self._client.start(request, authorize, rest_limits, outcome).cancel)

    def _on_outcome(self, active: ActiveExecution, call: FlowCall, outcome: Outcome) -> None:
        if isinstance(outcome, RestResult):
            text = json_text(outcome)
            if text is not None and not is_quick(text):
                checked = partial(self._on_checked, active, outcome, text)
                self._payload_parser.check(text, checked, max_depth=MAX_DEPTH)
            else:
                self._end(active, outcome, partial(_output_json, outcome))
            return
        self._runner.end_task(active, Status.ENDED_ERROR, self._why(active, call, outcome), b"{}")

    def _why(self, active: ActiveExecution, call: FlowCall, outcome: Outcome) -> str:
        """The message of a failed call; notes a refusal. A refused address counts as a lack of permission."""
        message = str(outcome)
        if isinstance(outcome, RestError) and outcome.fault is RestFault.ADDRESS_REFUSED:
            # The URL was allowed, what its host stands for is not. The message begins with the method.
            message = str(PermissionDenied(call.execution.user_name, Action.CONNECT, message.partition(" ")[2]))
        elif not isinstance(outcome, PermissionDenied):
            return message
        if active.protection is not None:
            message = active.protection.text(message)
        self._broker.note_refusal(call, message)
        return f"PermissionDenied: {message}"

    def _on_checked(self, active: ActiveExecution, result: RestResult, text: bytes, checked: object) -> None:
        is_json = not isinstance(checked, Exception)
        self._end(
            active, result, partial(output_json, result, text) if is_json else partial(_output_json, result, False)
        )

    def _end(self, active: ActiveExecution, result: RestResult, output_for: Callable[..., bytes]) -> None:
        """`output_for`: the output as JSON text; asked again without the text beside JSON where both are too much."""
        limit = active.limits.max_output_bytes
        output = output_for()
        if len(output) > limit:
            output = output_for(text_beside_json=False)
        if len(output) > limit:
            text = f"max_output_bytes: the answer is {len(output)} bytes as JSON, more than {limit}"
            self._runner.end_task(active, Status.ENDED_ERROR, text, b"{}")
            return
        status = Status.ENDED_SUCCESS if result.is_expected else Status.ENDED_ERROR
        self._runner.end_task(active, status, result.message, output)


def _output_json(result: RestResult, may_be_json: bool = True, *, text_beside_json: bool = True) -> bytes:
    return json_bytes(output_of(result, may_be_json=may_be_json, text_beside_json=text_beside_json))
