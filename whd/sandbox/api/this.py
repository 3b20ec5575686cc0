"""`this`: the flow's own execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import CloudomationException, InvalidInputError, MissingInputError
from ..run import ERROR, SUCCESS, Run
from . import arguments
from .executions import FLOW_CALL, Child, Execution, executions_of, make_child, wait_for
from .sealed import MISSING, seal

TASK_TYPES = ("REST",)
_NO_SCRIPT = "save the script as a flow of its own and call this.flow(name)"


class This(Execution):
    """This execution."""

    __slots__ = ("_run",)
    _run: Run
    _missing = {  # noqa: RUF012  # read only
        "script": _NO_SCRIPT,
        **dict.fromkeys(("archive", "delete"), "ended executions go by themselves (retention_minutes)"),
        **dict.fromkeys(("pause", "cancel"), "this.success() and this.error() end the flow, this.sleep() waits"),
        **dict.fromkeys(("run", "run_async", "wait"), "it runs already; children have it: this.flow(name)"),
        "clone": "call this.flow(name) with its own flow_name",
        "message": "what was meant is this.save(message=…), or a web form: a webhook whose flow answers with a page",
    }

    # ---- fields ------------------------------------------------------------------------------------------------------

    def get(self, name: str, /, *more: str) -> Any:
        """A field; several give a tuple."""
        if more:
            return tuple(self._run.field(each) for each in (name, *more))
        return self._run.field(name)

    def load(self, name: str, /, *more: str) -> Any:
        """A field of this execution; `get` is as fresh."""
        return self.get(name, *more)

    def set(self, name: Any = MISSING, value: Any = MISSING, /, **fields: Any) -> None:
        """Changes message, name or output_value: set('message', 'x') or set(message='x')."""
        run = self._run
        run.check_open()
        if name is not MISSING:
            if value is MISSING:
                raise InvalidInputError("this.set needs a name and a value")
            run.set_field(name, value)
        for key, item in fields.items():
            run.set_field(key, item)

    def save(self, **fields: Any) -> None:
        """Writes fields (output_value, message, name), to be seen while the execution runs; without any, all three."""
        self.set(**fields)
        self._run.save(fields or ("output_value", "message", "name"))

    def set_output(self, name: Any = MISSING, value: Any = MISSING, /, **members: Any) -> None:
        """Adds to output_value: ('k', v) or (k=v). A single value replaces it."""
        run = self._run
        run.check_open()
        if value is not MISSING:
            run.set_output(name, value)
        elif name is not MISSING:
            run.set_field("output_value", name)
        for key, item in members.items():
            run.set_output(key, item)

    def log(self, *args: Any, **kwargs: Any) -> None:
        """A structured log line."""
        self._run.log(args, kwargs)

    # ---- the end -----------------------------------------------------------------------------------------------------

    def success(self, message: Any = "") -> NoReturn:
        """Ends the flow: all went well."""
        run = self._run
        run.end(SUCCESS, message or run.fields["message"])

    def error(self, message: Any = "") -> NoReturn:
        """Ends the flow: it failed."""
        run = self._run
        run.end(ERROR, message or run.fields["message"])

    def end(self, status: str, message: Any = "") -> NoReturn:
        """Ends the flow with 'success' or 'error'."""
        word = str.__str__(status).lower() if isinstance(status, str) else ""
        if word not in ("success", "error"):
            raise InvalidInputError(f"this.end: 'success' or 'error', not {arguments.shown(status)}")
        self._run.end(SUCCESS if word == "success" else ERROR, message or self._run.fields["message"])

    def webhook_html_response(self, html: Any) -> NoReturn:
        """Ends with a page for the webhook's caller."""
        self._run.respond(html if isinstance(html, str) else str(html), 200, None, "text/html; charset=utf-8")

    def webhook_response(self, body: Any = "", status: int = 200, headers: Any = None) -> NoReturn:
        """Ends with this answer for the webhook's caller."""
        self._run.respond(body, status, headers, None)

    def webhook_json_response(self, value: Any, status: int = 200, headers: Any = None) -> NoReturn:
        """Ends with this JSON for the webhook's caller."""
        self._run.respond(value, status, headers, "application/json", is_json=True)

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def sleep(self, seconds: float | str) -> None:
        """Waits; takes no CPU and no slot of a running flow."""
        self._run.sleep(seconds)

    def sleep_until(self, time: Any) -> None:
        """Waits until a moment: a datetime, ISO 8601 text, or seconds since 1970."""
        self._run.call("sleep", {"until": arguments.epoch_s(time)})

    def wait_for(self, *executions: Any, return_when: str = "ALL_SUCCEEDED") -> tuple[Child, ...]:
        """Waits for executions, given one by one or in one list; answers those that have ended.

        Raises DependencyFailedError when one failed, but not with ALL_ENDED.
        """
        when = arguments.return_when(return_when, "this.wait_for: return_when")
        return wait_for(self._run, executions_of(executions), when)

    # ---- children ----------------------------------------------------------------------------------------------------

    def flow(self, flow_name: Any = MISSING, /, inputs: Any = None, **options: Any) -> Child:
        """A child execution of a flow. Options: input_value, name, run, wait; other keywords are added to its inputs.

        `run=False`: it is started later. `wait=False`: it is not waited for. `wait=system.return_when.ALL_ENDED`: its
        failure raises nothing. Otherwise raises DependencyFailedError when it fails.
        """
        if flow_name is MISSING:
            flow_name = options.pop("flow_name", MISSING)
        if flow_name is MISSING:
            raise MissingInputError("this.flow needs the flow's name: this.flow('name')")
        flow = arguments.text(flow_name, "this.flow: a flow's name")
        return self._child("this.flow", FLOW_CALL, {"flow": flow}, flow, inputs, options)

    def task(self, connector_type: Any = MISSING, /, inputs: Any = None, **options: Any) -> Child:
        """An outgoing call as a child execution; options as for flow, other keywords are its inputs."""
        return self._task("this.task", connector_type, inputs, options)

    def connect(self, connector_type: Any = MISSING, /, inputs: Any = None, **options: Any) -> Child:
        """A task under its newer name; the type is REST if none is given."""
        if connector_type is MISSING:
            connector_type = options.pop("connector_type", TASK_TYPES[0])
        return self._task("this.connect", connector_type, inputs, options)

    def _task(self, where: str, connector_type: Any, inputs: Any, options: dict[str, Any]) -> Child:
        if connector_type is MISSING:
            connector_type = options.pop("connector_type", MISSING)
        if connector_type is MISSING:
            raise MissingInputError(f"{where} needs the type of the task: {where}('REST', url=…)")
        connector = arguments.text(connector_type, f"{where}: the type")
        if connector not in TASK_TYPES:
            there = ", ".join(TASK_TYPES)
            raise CloudomationException(
                f"{where}: {arguments.shown(connector)} is not available in whd; there is: {there}"
            )
        return self._child(where, "task.start", {"connector": connector}, connector, inputs, options)

    def _child(
        self,
        where: str,
        call: str,
        start: dict[str, Any],
        label: str,
        inputs: Any,
        options: dict[str, Any],
    ) -> Child:
        """A child by the options that flows give; what is none is an input."""
        run = self._run
        run.check_open()
        arguments.check_options(where, options)
        start.update(arguments.protected_names(where, options))
        name = arguments.text_or_none(options.pop("name", None), f"{where}: name")
        is_started = arguments.flag(options.pop("run", True), f"{where}: run")
        wait = _wait_option(options.pop("wait", True), where)
        given = (options.pop("input_value", None), inputs)
        start["inputs"] = arguments.merged_inputs(where, given, options)
        start["name"] = name
        if "connector" in start:
            arguments.check_task_inputs(where, start["inputs"])
        child = make_child(run, call, start, name or label)
        if is_started:
            child._begin()
            if wait:
                wait_for(run, [child], wait)
        return child


def _wait_option(value: Any, where: str) -> str:
    """When to wait for, "" for not at all."""
    if type(value) is bool:
        return "ALL_SUCCEEDED" if value else ""
    return arguments.return_when(value, f"{where}: wait, unless it is True or False,")


def deferred(this: This, name: str) -> Callable[..., Child]:
    """this.flow, this.task or this.connect where a later statement starts the child: as if run=False had been given.

    The scripts of 2018 and 2019 are written so; waiting first would run their children one after the other, and raise
    before the `try` around `.run()`, or the failures that they look for later with ALL_ENDED.
    """

    def make(kind: Any = MISSING, /, inputs: Any = None, **options: Any) -> Child:
        method: Callable[..., Child] = getattr(this, name)
        if "run" in options or "wait" in options:
            return method(kind, inputs, **options)
        child = method(kind, inputs, run=False, **options)
        child._is_deferred = True
        return child

    return make


seal(This, "Execution", "this")
seal(Execution, "Execution")
