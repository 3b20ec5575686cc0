"""One execution within a worker: what it was given, what it has said so far, and what it may still do.

The flow sees none of this, only the API's objects (flow_api.py) that stand before it. From its end on a flow acts only
on its way out: in `finally` and `__exit__`, where published flows tidy up. Once the handler has left nothing acts: what
is left of the flow (a suspended generator's `finally`) can ask for nothing (SANDBOX, trap 7).
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from ..wire.frames import RunHead, split_raw
from ..wire.response_headers import webhook_paths
from ..wire.strict_json import MAX_CALL_DEPTH
from ..wire.timestamps import timestamp
from .api import arguments as given
from .channel import Channel
from .errors import ERRORS, CloudomationException, FlowEnd, InvalidInputError
from .helper_modules import ModuleLoader
from .inputs import as_child_input, as_input
from .modules.facade import Facade
from .outputs import NoJsonForm, a_kind, to_json, to_log_json
from .responses import make_response

SUCCESS = "ENDED_SUCCESS"
ERROR = "ENDED_ERROR"
MAX_CALL_BYTES = 1_048_576
# What a flow calls a call, where it is another word.
_SPOKEN = {"child.start": "this.flow", "task.start": "this.task", "execution.save": "this.save"}
# How the path to a value in a call's arguments begins; flows know the arguments by their own names.
_IN_ARGUMENTS = re.compile(r"arguments\['(\w+)'\]")

_NONE: frozenset[str] = frozenset()

_decoder = json.JSONDecoder()
# decode() would also look for white space around the text, at three times the cost.
_scan: Callable[[str, int], tuple[Any, int]] = vars(_decoder)["scan_once"]

READABLE = (
    "id", "name", "type", "status", "message", "input_value", "output_value", "flow_name", "webhook_name", "user_name",
    "client_name", "created_at", "started_at",
)  # fmt: skip
WRITABLE = ("message", "name", "output_value")


class RunContext(NamedTuple):
    """What executions of one webhook have in common: fields for this.get, and limits."""

    about: dict[str, Any]
    limits: dict[str, Any]


class Run:
    """The state of one execution. `fields`: what this.get has read or the flow has set so far. `modules`: of a flow
    that may import some.
    """

    __slots__ = (
        "_about", "_calls", "_channel", "_head", "_input_json", "_limits", "_log_bytes", "acquired", "facades",
        "fields", "is_open", "job", "limit", "message", "modules", "new_name", "response", "status", "wants_fresh",
    )  # fmt: skip

    def __init__(
        self, head: RunHead, context: RunContext, input_json: bytes | bytearray | None, channel: Channel
    ) -> None:
        self.job = head.job
        self._head = head
        self._channel = channel
        self._input_json = input_json
        self._about, self._limits = context
        self.fields: dict[str, Any] = {"message": "", "output_value": {}}
        self.facades: dict[str, Facade] = {}
        # The settings that it has acquired at some time.
        self.acquired: frozenset[str] = _NONE
        self.modules: ModuleLoader | None = None
        self.is_open = True
        self.status = ""
        self.message = ""
        self.limit = ""
        self.new_name = ""
        self.response: dict[str, Any] | None = None
        self.wants_fresh = False
        self._calls = 0
        self._log_bytes = 0

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        # deepcopy(print) would otherwise copy what print is bound to.
        raise TypeError("this cannot be copied")

    # ---- fields ------------------------------------------------------------------------------------------------------

    def field(self, name: Any) -> Any:
        """A field of the execution. Raises InvalidInputError for an unknown one."""
        try:
            return self.fields[name]
        except (KeyError, TypeError):
            pass
        if type(name) is not str or name not in READABLE:
            raise InvalidInputError(f"this execution has no field {name!r}; it has: {', '.join(READABLE)}") from None
        if not self.is_open:
            return None
        value = self.fields[name] = self._first_read(name)
        return value

    def _first_read(self, name: str) -> Any:
        """Reads a field for the first time."""
        head = self._head
        match name:
            case "input_value":
                return self._read_input()
            case "id":
                return head.execution_id.decode("ascii")
            case "name":
                return head.name or self._about["name"]
            case "created_at":
                return timestamp(head.created_ms)
            case "started_at":
                return timestamp(head.started_ms)
            case "status":
                return "RUNNING"
        return self._about.get(name)

    def _read_input(self) -> Any:
        """Parsed once; the text is let go of, for it may be large."""
        text = self._input_json
        if text is None:
            return None
        value = _decode(text.decode("utf-8"))
        about = self._about
        value = as_input(value) if about.get("webhook_name") else as_child_input(value, about.get("kinds") or [])
        self._input_json = None
        return value

    @property
    def env_name(self) -> str:
        """The name of the environment: the original platform has several, whd one."""
        return self._about.get("env_name") or "default"

    def set_field(self, name: Any, value: Any) -> None:
        """Changes one of the three fields that a flow may change."""
        if type(name) is not str or name not in WRITABLE:
            why = f": {given.RETENTION}" if name in given.RETENTION_FIELDS else ""
            raise InvalidInputError(f"the field {name!r} cannot be set{why}; {', '.join(WRITABLE)} can")
        if name != "output_value":
            value = _text(value)
        if name == "name":
            self.new_name = value
        self.fields[name] = value

    def set_output(self, name: Any, value: Any) -> None:
        """Adds a member to output_value."""
        output = self.fields["output_value"]
        if not isinstance(output, dict):
            raise InvalidInputError(
                f"set_output: output_value is {a_kind(type(output))} by now, so nothing can be added to it; "
                "this.set_output(value) replaces it"
            )
        output[name] = value

    # ---- the end -----------------------------------------------------------------------------------------------------

    def end(self, status: str, message: Any) -> NoReturn:
        """Ends the flow. The first end counts, whatever the flow does on its way out."""
        if self.is_open and not self.status:
            self.status = status
            self.message = _text(message)
        raise FlowEnd

    def end_by_limit(self, name: str, what: str) -> NoReturn:
        """Ends the flow because a limit was passed; the message names the limit and its value.

        That counts however the flow has ended before, as a limit that the daemon watches does.
        """
        if self.is_open and not self.limit:
            before = f"{self.message}\n" if self.status == ERROR and self.message else ""
            self.fail(f"{before}{name}: {what}", name)
        raise FlowEnd

    def respond(
        self, body: Any, status: Any, headers: Any, content_type: str | None, *, is_json: bool = False
    ) -> NoReturn:
        """Ends the flow with an answer of its own for the webhook's caller. `is_json`: a text is a JSON value too."""
        self.check_open()
        # Not as fields: those the flow may have changed.
        paths = webhook_paths(self._about["client_name"], self._about["webhook_name"] or "")
        response = make_response(body, status, headers, content_type, is_json=is_json, cookie_paths=paths)
        size = len(response.get("body", "").encode("utf-8")) or len(response.get("body_base64", "")) * 3 // 4
        limit = self._limits["max_output_bytes"]
        if size > limit:
            self.end_by_limit("max_output_bytes", f"the answer has {size} bytes; {limit} are allowed")
        if self.is_open and not self.status:
            self.response = response
        self.end(SUCCESS, self.fields["message"])

    def check_open(self) -> None:
        """Every act begins here. Raises FlowEnd for a flow that has ended, unless it is on its way out."""
        if self.status and (self.limit or not _is_leaving()):
            raise FlowEnd
        if not self.is_open:
            raise FlowEnd

    # ---- the daemon --------------------------------------------------------------------------------------------------

    def call(self, name: str, arguments: dict[str, Any], raw: bytes = b"") -> Any:
        """Asks the daemon and waits for its answer. `raw`: bytes that are sent as they are, for what may be large.

        Raises what the daemon answers, InvalidInputError, FlowEnd.
        """
        return self.call_for_raw(name, arguments, raw)[0]

    def call_for_raw(self, name: str, arguments: dict[str, Any], raw: bytes = b"") -> tuple[Any, bytes]:
        """`call` for an answer that carries raw bytes beside its value."""
        self.check_open()
        text = _call_json(name, arguments)
        if len(text) > MAX_CALL_BYTES:
            what = _SPOKEN.get(name, name)
            raise InvalidInputError(f"{what}: {len(text)} bytes are too many for one request; {MAX_CALL_BYTES} can be")
        # Numbered only now: making the text may have run code of the flow, which may have called by itself.
        call = self._calls = self._calls + 1
        limit = self._limits["max_calls"]
        if call > limit:
            self.end_by_limit("max_calls", f"more than {limit} requests to the daemon")
        request: dict[str, Any] = {"op": "call", "job": self.job, "call": call, "name": name}
        if raw:
            self._check_raw(name, len(raw))
            request["raw_bytes"] = len(raw)
        self._channel.send(request, text + raw)
        head, value = self._channel.answer_to(self.job, call)
        refusal = head.get("error")
        if refusal is not None:
            raise ERRORS.get(refusal["type"], CloudomationException)(refusal["text"])
        if value is None:
            return None, b""
        text, raw = split_raw(head, value) if "raw_bytes" in head else (value, b"")
        return _decode(text.decode("utf-8")), raw

    def _check_raw(self, name: str, size: int) -> None:
        limit = max(self._limits["max_output_bytes"], MAX_CALL_BYTES)
        if size > limit:
            what = _SPOKEN.get(name, name)
            raise InvalidInputError(f"{what}: {size} bytes are too many at once; max_output_bytes allows {limit}")

    def json_text(self, name: str, value: Any, path: str) -> bytes:
        """A value of a call as JSON text. Raises InvalidInputError."""
        self.check_open()
        try:
            return to_json(value, path)
        except NoJsonForm as error:
            raise InvalidInputError(f"{name}: {error}") from None

    def sleep(self, seconds: Any) -> None:
        """Waits in the daemon: takes no CPU and no slot."""
        self.call("sleep", {"seconds": given.seconds(seconds, "sleep: seconds")})

    def save(self, names: Iterable[str]) -> None:
        """Tells the daemon how these fields stand, so that they can be seen while the execution runs."""
        self.check_open()
        fields = {name: self.field(name) for name in names}
        if len(_call_json("this.save", fields)) > MAX_CALL_BYTES:
            # Too much for one request: such an output is seen at the end, like one that was never saved.
            fields.pop("output_value", None)
        self.call("execution.save", fields)

    # ---- the log -----------------------------------------------------------------------------------------------------

    def log(self, arguments: tuple[Any, ...], fields: dict[str, Any]) -> None:
        """One structured line: {"at": ms, "args": […], "fields": {…}}, without what is empty."""
        parts = [f'"args":[{",".join(map(to_log_json, arguments))}]'] if arguments else []
        if fields:
            members = (f"{to_log_json(str.__str__(name))}:{to_log_json(value)}" for name, value in fields.items())
            parts.append(f'"fields":{{{",".join(members)}}}')
        self._log(parts)

    def print(
        self, *values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: Any = None
    ) -> None:
        """The builtin print: one line {"at": ms, "text": "…"}."""
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        self._log([f'"text":{to_log_json(str.__str__(text).removesuffix(chr(10)))}'])

    def _log(self, parts: list[str]) -> None:
        self.check_open()
        line = "{" + ",".join([f'"at":{time.time_ns() // 1_000_000}', *parts]) + "}"
        self._log_bytes += len(line) + 2
        limit = self._limits["max_log_bytes"]
        if self._log_bytes > limit:
            self.end_by_limit("max_log_bytes", f"more than {limit} bytes of log")
        self._channel.send({"op": "log", "job": self.job}, f"[{line}]".encode("ascii"))

    # ---- what came of it ---------------------------------------------------------------------------------------------

    def output_json(self) -> bytes:
        """The output as JSON; an output that cannot be sent turns the execution into a failed one."""
        limit = self._limits["max_output_bytes"]
        try:
            text = to_json(self.fields["output_value"], "output_value")
        except NoJsonForm as error:
            before = f"{self.message}\n" if self.status == ERROR and self.message else ""
            self.fail(f"{before}the output is not JSON: {error}")
        else:
            if len(text) <= limit:
                return text
            self.fail(f"max_output_bytes: the output has {len(text)} bytes; {limit} are allowed", "max_output_bytes")
        return b"{}"

    def fail(self, message: str, limit: str = "", *, fresh: bool = True) -> None:
        """Makes it a failure, however the flow ended."""
        self.status, self.message, self.limit, self.response = ERROR, message, limit, None
        self.wants_fresh = self.wants_fresh or fresh

    @property
    def memory_bytes(self) -> int:
        """The memory limit, which the kernel enforces."""
        return self._limits.get("memory_bytes", 0)  # type: ignore[no-any-return]  # the daemon's own head

    def close(self) -> None:
        """Nothing of the flow is kept."""
        self.is_open = False
        self.fields = {"message": "", "output_value": {}}
        self.facades = {}
        self.modules = None
        self._input_json = None


def _is_leaving() -> bool:
    """Whether the code that runs is a `finally` or an `__exit__` that the end of the flow passes through.

    There the end is the exception that is handled, or came before it. A flow that swallowed its end (`return` in
    `finally`, an `__exit__` that answers True) has none, and does not go on.
    """
    error = sys.exception()
    while error is not None and type(error) is not FlowEnd:
        error = error.__context__
    return error is not None


def _decode(text: str) -> Any:
    """JSON that the daemon has checked."""
    try:
        return _scan(text, 0)[0]
    except StopIteration:
        return _decoder.decode(text)  # white space before it


def _call_json(name: str, arguments: dict[str, Any]) -> bytes:
    try:
        return to_json(arguments, "arguments", MAX_CALL_DEPTH)
    except NoJsonForm as error:
        spoken = _IN_ARGUMENTS.sub(r"\1", str(error), count=1)
        raise InvalidInputError(f"{_SPOKEN.get(name, name)}: {spoken}") from None


def _text(value: Any) -> str:
    """A message or name as an exact str that UTF-8 can hold."""
    text = str.__str__(value) if isinstance(value, str) else "" if value is None else str.__str__(str(value))
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
