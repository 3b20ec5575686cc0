"""Calls on executions: the calling one is saved; children are started, waited for, read, cancelled.

A child runs as its parent's user, inherits its limits and counts against the limits of the whole tree.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from ..auth.permissions import Action, authorize, may
from ..errors import HttpError, StateError
from ..executions.active import ActiveExecution
from ..executions.family import Child, ReturnWhen
from ..executions.lookup import Lookup
from ..executions.protection import Protection, masked_input, values_of
from ..executions.runner import Runner
from ..model.budget import BufferBudget
from ..model.execution import Execution, to_json
from ..pool.frames_in import MAX_MESSAGE_CHARS, strict_json
from ..pool.payload_parser import PayloadParser
from ..store.interface import Stored
from ..wire.frames import FrameError
from ..wire.strict_json import is_quick
from .broker import Broker, CallHandler
from .call import CallError, FlowCall, invalid, json_bytes, not_found, times_json

log = logging.getLogger("whd.broker")

TOO_MANY = "too many payloads are waiting (max_buffered_bytes)"

FIELDS = frozenset(
    {
        "id", "name", "type", "status", "message", "input_value", "output_value", "flow_name", "webhook_name",
        "user_name", "client_name", "created_at", "started_at", "ended_at",
    }
)  # fmt: skip


class ExecutionCalls:
    """this.save, this.flow, wait_for, system.execution, and the methods of a child."""

    def __init__(
        self, broker: Broker, runner: Runner, lookup: Lookup, payload_parser: PayloadParser, budget: BufferBudget
    ) -> None:
        self._broker = broker
        self._runner = runner
        self._lookup = lookup
        self._payload_parser = payload_parser
        self._budget = budget
        self._tasks: set[asyncio.Task[None]] = set()
        self.table: dict[str, CallHandler] = {
            "child.start": self._start,
            "child.wait": self._wait,
            "execution.get": self._get,
            "execution.cancel": self._cancel,
            "execution.save": self._save,
            "flow.exists": self._flow_exists,
            "flow.times": self._flow_times,
            "flow.list": self._flow_list,
        }

    def _start(self, call: FlowCall) -> bytes | None:
        """{flow, name, kinds, masked, protect_outputs} and the input as JSON text: {id}.

        The child is on its way when the answer comes. The last three are optional: see sandbox/api/child_input.py.
        """
        call.raw = call.raw or b"null"
        parts = call.masked_parts("masked")
        if not parts:
            return self._check(call, [call.raw], partial(self._start_checked, call.raw, None))
        try:
            written = masked_input(call.raw, parts)
        except ValueError as error:
            raise invalid(str(error)) from None
        protection = Protection(call.raw, values=values_of(call.raw, parts))
        return self._check(call, [call.raw, written], partial(self._start_checked, written, protection))

    def _check(self, call: FlowCall, texts: list[bytes], then: CallHandler) -> bytes | None:
        """Goes on with `then` once all the texts have proved to be JSON."""
        text, *more = texts
        following = partial(self._check, texts=more, then=then) if more else then
        if is_quick(text):
            try:
                strict_json(text, "the input")
            except FrameError as error:
                raise invalid(str(error)) from None
            return following(call)
        # The right is checked again when the child starts; without it the input is not worth reading.
        authorize(self._broker.who(call)[1], Action.RUN_FLOW, call.text("flow"))
        size = len(text)
        if not self._budget.take(size):
            raise CallError("CloudomationException", TOO_MANY)

        def checked(result: object) -> None:
            self._budget.give(size)
            if isinstance(result, HttpError):
                self._broker.refuse(call, invalid(f"the input: {result}"))
            else:
                self._broker.do(call, following)

        self._payload_parser.check(text, checked)
        return None

    def _start_checked(self, input_json: bytes, protection: Protection | None, call: FlowCall) -> bytes | None:
        flow_name = call.text("flow")
        client, user = self._broker.who(call)
        authorize(user, Action.RUN_FLOW, flow_name)
        flow = client.flows.get(flow_name)
        if flow is None:
            raise not_found(f"there is no flow {flow_name!r}")
        parent = self.active(call)
        execution = Execution(
            id="",
            client_name=client.name,
            flow_name=flow_name,
            user_name=user.name,
            script_hash="",
            input_json=input_json,
            name=call.text_or_none("name") or "",
            show_script=parent.execution.show_script,
            is_masked=protection is not None,
        )
        outputs = call.texts_or_none("protect_outputs")
        if outputs:
            protection = protection or Protection(call.raw)
            protection.outputs = frozenset(outputs)
        child = self._runner.prepare_child(execution, flow, parent, protection, call.kinds_json("kinds"))
        if not self._runner.count_input(child):
            raise CallError("CloudomationException", TOO_MANY)
        if not self.admit(call, parent, child):
            return None
        self._runner.run_child(child)
        return json_bytes({"id": execution.id})

    def active(self, call: FlowCall) -> ActiveExecution:
        """The execution that calls."""
        active = self._runner.find_active(call.execution.id)
        if active is None:
            raise CallError("CloudomationException", "the execution has ended")
        return active

    def admit(self, call: FlowCall, parent: ActiveExecution, child: ActiveExecution) -> bool:
        """Enters a child into its family. False when that is past a limit, which has ended the parent."""
        limits = parent.limits
        if parent.depth + 1 > limits.max_depth:
            self._runner.end_by_limit(parent, f"max_depth: child executions nest deeper than {limits.max_depth}")
            return False
        if parent.tree.children + 1 > limits.max_children:
            text = f"max_children: more than {limits.max_children} child executions below one call"
            self._runner.end_by_limit(parent, text)
            return False
        execution = child.execution
        known = Child(execution.id, execution.name or execution.flow_name)
        parent.family.add(known)
        self._runner.start_child(child, parent, partial(self._on_ended, parent, known))
        return True

    def _on_ended(self, parent: ActiveExecution, known: Child, child: ActiveExecution) -> None:
        self._runner.keep_output(parent, known, child)
        parent.family.end(known, child.execution.status, child.execution.message)

    def _wait(self, call: FlowCall) -> None:
        """{ids, return_when}: {id: {status, message}} of the children that ended the wait, once they have."""
        parent = self.active(call)
        try:
            when = ReturnWhen(call.text("return_when"))
        except ValueError:
            raise invalid(f"return_when takes {', '.join(ReturnWhen)}") from None
        ids = call.texts("ids", parent.limits.max_children)
        children = []
        for child_id in ids:
            child = parent.family.children.get(child_id)
            if child is None:
                raise not_found(f"execution {child_id[:64]!r} is no child of this one")
            children.append(child)
        parent.family.wait(children, when, lambda ended: self._broker.answer(call, _ended_json(ended)))

    def _save(self, call: FlowCall) -> bytes:
        """{message, name, output_value}, each optional: written to the calling execution's record while it runs."""
        active = self.active(call)
        message, name = call.text_or_none("message", MAX_MESSAGE_CHARS), call.text_or_none("name")
        output_json = call.json("output_value") if call.has("output_value") else None
        self._runner.save_running(active, message, name, output_json)
        return b"null"

    def _get(self, call: FlowCall) -> None:
        """{id, fields}: those fields of a child, or of another execution of the same client and user."""
        fields = call.texts("fields", len(FIELDS))
        unknown = sorted(set(fields) - FIELDS)
        if unknown:
            raise invalid(f"an execution has no field {unknown[0][:64]!r}; it has: {', '.join(sorted(FIELDS))}")

        async def found(stored: Stored) -> bytes:
            output_json = self._kept_output(call, stored) if "output_value" in fields else None
            return _fields_json(stored.execution, fields, output_json)

        self._look_up(call, found)

    def _kept_output(self, call: FlowCall, stored: Stored) -> bytes | bytearray | None:
        """The output of a protected child of the calling execution; None for that of any other. Raises CallError."""
        parent = self._runner.find_active(call.execution.id)
        family = parent.known_family if parent is not None else None
        child = family.children.get(stored.execution.id) if family is not None else None
        if child is None:
            return None
        if child.is_output_lost:
            raise CallError("CloudomationException", f"the protected output of {child.name!r} was not kept: {TOO_MANY}")
        return child.output_json

    def _cancel(self, call: FlowCall) -> None:
        """{id}: ends a child, or another execution of the same client and user; harmless when it has ended."""

        async def found(stored: Stored) -> bytes:
            await self._lookup.cancel(stored, f"cancelled by execution {call.execution.id}")
            return b"null"

        self._look_up(call, found)

    def _look_up(self, call: FlowCall, found: Callable[[Stored], Awaitable[bytes]]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer_found(call, call.text("id"), found))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_found(
        self, call: FlowCall, execution_id: str, found: Callable[[Stored], Awaitable[bytes]]
    ) -> None:
        own = call.execution
        try:
            stored = await self._lookup.get(execution_id)
        except StateError as error:
            self._broker.refuse(call, CallError("CloudomationException", error.detail))
            return
        # Another user's executions look like ones that do not exist.
        if (
            stored is None
            or stored.execution.client_name != own.client_name
            or stored.execution.user_name != own.user_name
        ):
            self._broker.refuse(call, not_found(f"there is no execution {execution_id[:64]!r}"))
            return
        try:
            answer = await found(stored)
        except StateError as error:
            self._broker.refuse(call, CallError("CloudomationException", error.detail))
        except CallError as error:
            self._broker.refuse(call, error)
        except Exception:
            # A task's errors go no further; without an answer the flow would wait for ever.
            log.exception("%s of execution %s", call.name, own.id)
            self._broker.refuse(call, CallError("CloudomationException", f"{call.name}: internal error"))
        else:
            self._broker.answer(call, answer)

    def _flow_exists(self, call: FlowCall) -> bytes:
        """{name}: whether the flow exists and the user may run it."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.RUN_FLOW, name)
        return json_bytes(name in client.flows)

    def _flow_times(self, call: FlowCall) -> bytes:
        """{name}: when the flow's file was written."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.RUN_FLOW, name)
        flow = client.flows.get(name)
        if flow is None:
            raise not_found(f"there is no flow {name!r}")
        return times_json(flow.modified_ms, flow.modified_ms)

    def _flow_list(self, call: FlowCall) -> bytes:
        """The names of the flows that the user may run."""
        client, user = self._broker.who(call)
        return json_bytes(sorted(name for name in client.flows if may(user, Action.RUN_FLOW, name)))


def _fields_json(execution: Execution, fields: list[str], output_json: bytes | bytearray | None) -> bytes:
    """Some members of a record. `output_json`: instead of the record's.

    Input and output are passed on as they travelled: Python cannot write every number of JSON again, and a large value
    is not to be read on the loop.
    """
    values = {
        "input_value": execution.input_json or b"null",
        "output_value": output_json or execution.output_json or b"null",
    }
    rest = json.loads(to_json(replace(execution, input_json=b"", output_json=b"", log=[]), None))
    members = [json_bytes(field) + b":" + (values.get(field) or json_bytes(rest[field])) for field in fields]
    return b"{" + b",".join(members) + b"}"


def _ended_json(children: list[Child]) -> bytes:
    return json_bytes(
        {child.id: {"name": child.name, "status": child.status, "message": child.message} for child in children}
    )
