"""What the settings index holds: frozen values that name each other, no behaviour beyond look-ups.

Nothing here does I/O. A request takes one Snapshot and keeps it to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .answering import Answering
from .call_rules import CallFilter, DeliveryRule
from .caller_check import CallerCheck
from .library import NO_LIBRARY, Library, Module, hash_with, script_with
from .options import Limits, Options


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a file. `line` counts from 1, 0 where there is none; `field` may be "".

    `is_warning` faults are shown by `whd check` and break nothing.
    """

    path: str
    line: int
    field: str
    what: str
    expected: str = ""
    suggestion: str = ""
    is_warning: bool = False

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        field = f"{self.field}: " if self.field else ""
        expected = f"; expected {self.expected}" if self.expected else ""
        suggestion = f" - did you mean {self.suggestion}?" if self.suggestion else ""
        level = "warning: " if self.is_warning else ""
        return f"{where}: {level}{field}{self.what}{expected}{suggestion}"


@dataclass(frozen=True, slots=True)
class User:
    """A user and what it may do; empty means nothing. All names are globs in which `*` also matches `/`."""

    name: str
    flows: tuple[str, ...] = ()
    settings_read: tuple[str, ...] = ()
    settings_write: tuple[str, ...] = ()
    files_read: tuple[str, ...] = ()
    files_write: tuple[str, ...] = ()
    connections: Mapping[str, tuple[str, ...]] | None = None
    act_as: tuple[str, ...] = ()
    isolation: str | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow's source. `script_hash` is the sha256 of the source's UTF-8 bytes, in hex.

    `library`: where its imports are looked for, None for a source that cannot have any. `version` differs when the flow
    or what it may import does. `script` is what is recorded. Only of a flow that is `linked` are the modules that it
    imports in `script` and `script_hash`. `modified_ms`: when its file
    was written, since 1970; 0 where that is not known.
    """

    client_name: str
    name: str
    source: str
    script_hash: str
    path: str
    library: Library | None = None
    version: str = ""
    script: str = ""
    modified_ms: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", self.version or self.script_hash)
        object.__setattr__(self, "script", self.script or self.source)

    def with_library(self, library: Library) -> Flow:
        """The flow with its client's modules."""
        return replace(self, library=library, version=f"{self.script_hash}+{library.hash}")

    def linked(self, modules: tuple[Module, ...]) -> Flow:
        """The flow with those modules that it imports, directly or through others; itself where it has them."""
        if self.script != self.source:
            return self
        script_hash = hash_with(self.script_hash, modules)
        return replace(self, script_hash=script_hash, script=script_with(self.source, modules))


# What is compiled: a file of its own, with a hash.
Source = Flow | Module


@dataclass(frozen=True, slots=True, eq=False)
class SavedSetting:
    """A setting that a flow, or an operator by command, saved. `value` holds only JSON types, and nobody changes it.

    `value_json`: the value as compact JSON in UTF-8. `saver`: the user whose flow saved it, OPERATOR for the command.
    `saved_ms`, and `created_ms`, when it was saved first: since 1970.
    """

    client_name: str
    name: str
    value: Any
    value_json: bytes
    saver: str
    saved_ms: int
    created_ms: int

    @property
    def origin(self) -> str:
        """Where the value comes from, as tables and faults say it."""
        return f"saved by {self.saver or 'an operator'}"

    @property
    def location(self) -> str:
        """What a fault shows instead of a path."""
        return f"{self.client_name}: {self.name} ({self.origin})"


# No user has an empty name.
OPERATOR = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as read from a file, or saved (then `saved` is set, and `path` says by whom). Only JSON types.

    `modified_ms`: when the file was written, since 1970; 0 where that is not known.
    """

    name: str
    value: Any
    path: str
    saved: SavedSetting | None = None
    modified_ms: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A `client.webhook.<name>` setting with every default filled in.

    `caller_check`: what it asks of its callers. `limits`: never above the
    daemon's own. `isolation` and `show_script` are what the webhook and the daemon's options make together (the user's
    own isolation is added where the worker is chosen). `pointers`: what its checks and rules need of a payload. `only`:
    which calls run the flow, None for all. `success_status`: that of a call that was taken and runs nothing. `dedup`:
    which deliveries are repeats. `has_rules`: whether there is any such rule. `answering`: what its setting says of
    answers, None if nothing. `handshake`: a senders.handshakes.Consent, or None. `status_check`: what is asked of those
    who look at its executions or cancel them; None: nobody may. `unwrap`: the member of a form that is the payload, or
    "".
    """

    client_name: str
    name: str
    flow_name: str
    user_name: str
    caller_check: CallerCheck
    enabled: bool
    methods: tuple[str, ...]
    show_script: bool
    isolation: str
    limits: Limits
    path: str
    pointers: tuple[str, ...] = ()
    only: CallFilter | None = None
    success_status: int = 204
    has_rules: bool = False
    dedup: DeliveryRule | None = None
    answering: Answering | None = None
    handshake: Any = None
    status_check: CallerCheck | None = None
    unwrap: str = ""


@dataclass(frozen=True, slots=True)
class BrokenWebhook:
    """A webhook without any good version since this start, or saved and past its bounds: 503 `misconfigured`."""

    client_name: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Client:
    """All that belongs to one client, by name. `webhooks` is keyed by what follows `client.webhook.`.

    `library`: the helper modules of its flows.
    """

    name: str
    users: Mapping[str, User]
    flows: Mapping[str, Flow]
    settings: Mapping[str, Setting]
    webhooks: Mapping[str, Webhook | BrokenWebhook]
    library: Library = NO_LIBRARY


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that was valid at one moment. `serial` grows by one with each swap."""

    options: Options
    clients: Mapping[str, Client]
    faults: tuple[Fault, ...]
    serial: int = 0
