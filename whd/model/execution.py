"""An execution's record: its fields, its statuses and the one table of allowed changes.

Nothing here does I/O. JSON values (input, output) are kept as the bytes that travelled, never re-encoded.
"""

from __future__ import annotations

import enum
import functools
import json
import os
import time
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quote

from ..wire.timestamps import timestamp
from .library import split_script

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Status(enum.StrEnum):
    """Where an execution stands; the words of CONTRACT 3."""

    __hash__ = str.__hash__

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    ENDED_SUCCESS = "ENDED_SUCCESS"
    ENDED_ERROR = "ENDED_ERROR"
    ENDED_CANCELLED = "ENDED_CANCELLED"

    @property
    def is_ended(self) -> bool:
        """Whether nothing can change any more."""
        return self in ENDED


ENDED = frozenset({Status.ENDED_SUCCESS, Status.ENDED_ERROR, Status.ENDED_CANCELLED})


class Event(enum.Enum):
    """What can happen to an execution."""

    # Enum's own hash is a Python function; each change of a status would pay for it.
    __hash__ = object.__hash__

    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    REQUEUE = "requeue"


TRANSITIONS: dict[tuple[Status, Event], Status] = {
    (Status.PENDING, Event.START): Status.RUNNING,
    (Status.PENDING, Event.FAIL): Status.ENDED_ERROR,
    (Status.PENDING, Event.CANCEL): Status.ENDED_CANCELLED,
    (Status.PENDING, Event.REQUEUE): Status.PENDING,
    (Status.RUNNING, Event.SUCCEED): Status.ENDED_SUCCESS,
    (Status.RUNNING, Event.FAIL): Status.ENDED_ERROR,
    (Status.RUNNING, Event.CANCEL): Status.ENDED_CANCELLED,
    (Status.RUNNING, Event.REQUEUE): Status.PENDING,
}


class TransitionError(Exception):
    """A change that TRANSITIONS does not list: a defect of whd, never of a flow."""


class Cause(enum.StrEnum):
    """Why an execution ended otherwise than by its own flow; decides the HTTP status."""

    NONE = ""
    TIMEOUT = "timeout_s"
    CPU = "cpu_s"
    LIMIT = "limit"
    CRASH = "crash"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


@dataclass(slots=True)
class Execution:
    """One run of a flow. Times are milliseconds since 1970 UTC, 0 for not yet; JSON members are encoded UTF-8.

    `root_id` is the topmost parent's id (its own without a parent). `key_webhook_name` is the webhook whose key opens
    the status of the whole tree: the one through which the topmost parent came, "" for none. `is_async` decides what a
    restart does with it. `is_masked`: `***` stands for parts of its input, which are not kept: it never runs again.
    `delivery`: what it came of (Delivery.to_text), "" for a webhook without `dedup`. A store keeps it beside the
    record: of what is read, only `unfinished` gives it.
    """

    id: str
    client_name: str
    flow_name: str
    user_name: str
    script_hash: str
    input_json: bytes
    webhook_name: str = ""
    key_webhook_name: str = ""
    name: str = ""
    kind: str = "FLOW"
    status: Status = Status.PENDING
    cause: Cause = Cause.NONE
    message: str = ""
    # A large one is the bytearray that it came in.
    output_json: bytes | bytearray = b"{}"
    response_json: bytes = b""
    created_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    is_async: bool = False
    show_script: bool = True
    is_masked: bool = False
    attempts: int = 0
    parent_id: str = ""
    root_id: str = ""
    replay_of: str = ""
    delivery: str = field(default="", compare=False)
    log: list[bytes] = field(default_factory=list)

    def apply(self, event: Event, *, now_ms: int) -> None:
        """Changes the status as TRANSITIONS says and stamps the time. Raises TransitionError."""
        status = TRANSITIONS.get((self.status, event))
        if status is None:
            raise TransitionError(f"{self.id}: {event.name} in {self.status}")
        self.status = status
        if event is Event.START:
            self.started_ms = now_ms
            self.attempts += 1
        elif event is Event.REQUEUE:
            self.started_ms = 0
        else:
            self.ended_ms = now_ms


_RANDOM_DIGITS = 20
_RANDOM_AHEAD = 400
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class _Randomness:
    """The kernel's random bytes as hex digits, some hundred ids' worth to a system call; each is used once."""

    def __init__(self) -> None:
        self._digits = ""
        self._position = 0

    def take(self) -> str:
        start = self._position
        if start == len(self._digits):
            self._digits = os.urandom(_RANDOM_DIGITS // 2 * _RANDOM_AHEAD).hex()
            start = 0
        self._position = end = start + _RANDOM_DIGITS
        return self._digits[start:end]


class _FrontRandomness(_Randomness):
    """Random digits whose last byte is a front's number: 66 bits are left that nobody can guess."""

    def __init__(self, front: int) -> None:
        super().__init__()
        self._front_digits = f"{front:02x}"

    def take(self) -> str:
        digits = super().take()
        return digits[:17] + self._front_digits + digits[19:]


_random = _Randomness()


def use_front_number(front: int) -> None:
    """From here on this process's ids end with the number (0 to 255) of its front (fronts/partition.py)."""
    global _random
    _random = _FrontRandomness(front)


@functools.lru_cache(maxsize=16)
def _id_start(milliseconds: int) -> str:
    text = f"{milliseconds:012x}"
    return f"{text[:8]}-{text[8:]}-7"


def new_id(now_ms: int | None = None) -> str:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, 74 bits of the kernel's randomness: none can be guessed."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    digits = _random.take()
    return f"{_id_start(milliseconds)}{digits[:3]}-{_VARIANTS[digits[3]]}{digits[4:7]}-{digits[7:19]}"


@functools.lru_cache(maxsize=1024)
def script_json(script: str, is_shown: bool) -> bytes:
    """A record's members `script` and `modules`, each after a comma; the same few are answered again and again.

    `modules`: {name: {"hash", "script"}} of the helper modules that ran with the flow, if there are some. `is_shown`:
    whether the texts may be seen.
    """
    source, modules = split_script(script)
    text = f',"script":{_encode(source)}' if is_shown else ""
    if modules:
        shown = modules if is_shown else {name: {"hash": module["hash"]} for name, module in modules.items()}
        text += f',"modules":{_encode(shown)}'
    return text.encode("ascii")


@functools.lru_cache(maxsize=4096)
def _names_json(kind: str, name: str, flow: str, webhook: str, client: str, user: str) -> str:
    """The members of a record that are the same in every call of a webhook."""
    members = {
        "type": kind,
        "name": name or flow,
        "flow_name": flow,
        "webhook_name": webhook or None,
        "client_name": client,
        "user_name": user,
    }
    return _encode(members)[1:-1]


def names_json(execution: Execution) -> str:
    """type, name, flow_name, webhook_name, client_name and user_name as JSON members, without braces."""
    return _names_json(
        execution.kind,
        execution.name,
        execution.flow_name,
        execution.webhook_name,
        execution.client_name,
        execution.user_name,
    )


def shared_names_json(execution: Execution) -> str:
    """The members of names_json that all calls of a webhook share, as no execution has a name of its own yet."""
    return _names_json(
        execution.kind,
        "",
        execution.flow_name,
        execution.webhook_name,
        execution.client_name,
        execution.user_name,
    )


def _time_json(milliseconds: int) -> str:
    return f'"{timestamp(milliseconds)}"' if milliseconds else "null"


def to_json(execution: Execution, script: str | None) -> bytes:
    """The record as a caller gets it (CONTRACT 3, Sync), one JSON object in UTF-8.

    `script`: what ran, as model/library.py has it; left out when None. The execution's `show_script` says whether its
    texts are shown. Put together by hand, because every sync call pays for it: input and output are spliced as they
    travelled.
    """
    head = (
        f'{{"id":"{execution.id}",{names_json(execution)},'
        f'"status":"{execution.status.value}","message":{_quote(execution.message)}'
    )
    tail = (
        f',"created_at":{_time_json(execution.created_ms)},"started_at":{_time_json(execution.started_ms)},'
        f'"ended_at":{_time_json(execution.ended_ms)},"attempts":{execution.attempts}'
    )
    if execution.parent_id:
        tail += f',"parent_id":"{execution.parent_id}"'
    if execution.replay_of:
        tail += f',"replay_of":"{execution.replay_of}"'
    script_part = b"" if script is None else script_json(script, execution.show_script)
    return b"".join(
        (
            head.encode("ascii"),
            script_part,
            b',"input_value":',
            execution.input_json or b"null",
            b',"output_value":',
            execution.output_json or b"null",
            tail.encode("ascii"),
            b"}",
        )
    )
