"""Each kind of file into its value: whd.yaml, users.yaml, a setting, a flow or module (a webhook's: webhooks.py).

Every function takes a file's bytes (or text) and gives (value, faults); without a value at least one fault is no
warning. None raises for what a file holds, and no fault repeats a key. Nothing here does I/O.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import tokenize
from collections.abc import Mapping
from dataclasses import Field, dataclass
from typing import Any, Final

from ..auth.connections import rule_fault
from ..model.library import NO_LIBRARY, Module
from ..model.options import Options, option_fields
from ..model.snapshot import Fault, Flow, Setting, User
from ..wire.suggest import closest
from .document import MAP, NULL, Node, load
from .fields import (
    FieldFaults,
    known_fields,
    read_bool,
    read_choice,
    read_choices,
    read_mapping,
    read_number,
    read_texts,
    shown,
)

Faults = tuple[Fault, ...]

ISOLATIONS: Final[tuple[str, ...]] = Options.__dataclass_fields__["isolation"].metadata["choices"]
CONNECTORS: Final = ("REST",)

_OPTIONS: dict[str, Field[Any]] = {option.name: option for option in option_fields()}
_USER_FIELDS = ("flows", "settings", "files", "connections", "act_as", "isolation")
_PORT = re.compile(r"[0-9]{1,5}")
_LIB = re.compile(r"\blib\b")


def parse_options(data: bytes | str, path: str) -> tuple[Options | None, Faults]:
    """whd.yaml. What it leaves out has its default; an empty file is all defaults."""
    node, faults = load(data, path)
    report = FieldFaults(path, faults)
    given: dict[str, Any] = {}
    if node is not None and read_mapping(node, node.line, "", report, "a mapping of options") and node.kind == MAP:
        expected = "an option that `whd serve --help` lists"
        for name, (line, value) in known_fields(node, _OPTIONS, report, expected=expected).items():
            if name in _OPTIONS:
                given[name] = read_option(_OPTIONS[name], value, line, report)
    return (None if report.failed else Options(**given)), report.result()


def read_option(option: Field[Any], node: Node, line: int, report: FieldFaults) -> Any:
    """An option's value, by its type and bounds; None with a fault."""
    name = option.name
    if name == "listen":
        return _read_listen(node, line, report)
    if option.type == "bool":
        return read_bool(node, line, name, report)
    if option.type in ("int", "float"):
        return read_number(node, line, name, report, option)
    choices = option.metadata["choices"]
    if option.type == "str":
        return read_choice(node, line, name, report, choices)
    return read_choices(node, line, name, report, choices)


def _read_listen(node: Node, line: int, report: FieldFaults) -> tuple[str, ...] | None:
    addresses = read_texts(node, line, "listen", report, one_will_do=True)
    if addresses == ():
        report.fault(line, "listen", "is an empty list", "at least one HOST:PORT or unix:/path")
    for address in addresses or ():
        if fault := listen_fault(address):
            report.fault(line, "listen", f"{shown(address)} {fault}", "HOST:PORT, [IPV6]:PORT or unix:/path")
    return addresses


def listen_fault(address: str) -> str:
    """Why nobody can listen at `address` (HOST:PORT, [IPV6]:PORT or unix:/path); "" if it is well-formed."""
    if address.startswith("unix:"):
        return "" if address.startswith("unix:/") and "\0" not in address else "has no path that starts with /"
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        return "has no host" if colon else "has no port"
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return "has an IPv6 address without brackets"
    return "" if _PORT.fullmatch(port) and int(port) < 65_536 else "has no port from 0 to 65535"


@dataclass(frozen=True, slots=True)
class UsersSource:
    """A users.yaml. `isolation_lines`: where a user's isolation stands, for faults that turn on the options."""

    users: Mapping[str, User]
    isolation_lines: Mapping[str, int]
    path: str


def parse_users(data: bytes | str, path: str) -> tuple[UsersSource | None, Faults]:
    """A client's users.yaml. A user without any field may do nothing; so may all of an empty file."""
    node, faults = load(data, path)
    report = FieldFaults(path, faults)
    users: dict[str, User] = {}
    lines: dict[str, int] = {}
    found = None if node is None else read_mapping(node, node.line, "", report, "a mapping of users")
    for name, (line, fields_node) in (found or {}).items():
        if not name or len(name) > 128 or not name.isprintable():
            report.fault(line, "", "a user's name is empty, too long or not printable", "1 to 128 printable characters")
            continue
        users[sys.intern(name)] = _read_user(sys.intern(name), fields_node, line, report)
        if fields_node.kind == MAP and "isolation" in fields_node.items:
            lines[sys.intern(name)] = fields_node.items["isolation"][0]
    _warn_of_unknown_stand_ins(found or {}, users, report)
    return (None if report.failed else UsersSource(users, lines, path)), report.result()


def _read_user(name: str, node: Node, line: int, report: FieldFaults) -> User:
    given: dict[str, Any] = {}
    found = read_mapping(node, line, name, report, f"a mapping of {', '.join(_USER_FIELDS)}")
    if found:
        known_fields(node, _USER_FIELDS, report, within=name)
    for field, (at, value) in (found or {}).items():
        label = f"{name}.{field}"
        if field in ("flows", "act_as"):
            given[field] = _read_globs(value, at, label, report)
        elif field in ("settings", "files"):
            for access, globs in _read_access(value, at, label, report).items():
                given[f"{field}_{access}"] = globs
        elif field == "connections":
            given[field] = _read_connections(value, at, label, report)
        elif field == "isolation":
            given[field] = read_choice(value, at, label, report, ISOLATIONS)
    return User(name, **given)


def _read_globs(node: Node, line: int, label: str, report: FieldFaults) -> tuple[str, ...]:
    # Nothing after the colon is an empty list: deny by default.
    return () if node.kind == NULL else read_texts(node, line, label, report) or ()


def _read_access(node: Node, line: int, label: str, report: FieldFaults) -> dict[str, tuple[str, ...]]:
    access: dict[str, tuple[str, ...]] = {}
    if read_mapping(node, line, label, report, "a mapping of read and write, as in {read: [...], write: [...]}"):
        for name, (at, globs) in known_fields(node, ("read", "write"), report, within=label).items():
            if name in ("read", "write"):
                access[name] = _read_globs(globs, at, f"{label}.{name}", report)
    return access


def _read_connections(node: Node, line: int, label: str, report: FieldFaults) -> dict[str, tuple[str, ...]]:
    found = read_mapping(node, line, label, report, 'a mapping, as in {REST: ["https://api.example.com/*"]}')
    connections = {}
    for name, (at, globs) in (found or {}).items():
        rules = connections[sys.intern(name)] = _read_globs(globs, at, f"{label}.{name}", report)
        for rule in rules:
            if fault := rule_fault(rule):
                report.fault(
                    at, f"{label}.{name}", f"{shown(rule)}: {fault}", "a URL such as https://api.example.com/*"
                )
        if name not in CONNECTORS:
            known = " or ".join(CONNECTORS)
            report.warning(at, label, f"there is no connector {shown(name)}", known, closest(name, CONNECTORS))
    return connections


def _warn_of_unknown_stand_ins(
    found: Mapping[str, tuple[int, Node]], users: Mapping[str, User], report: FieldFaults
) -> None:
    for name, user in users.items():
        for other in user.act_as:
            if other not in users and "*" not in other and "?" not in other:
                line = found[name][1].items["act_as"][0]
                report.warning(
                    line,
                    f"{name}.act_as",
                    f"there is no user {shown(other)}",
                    "a user of this file",
                    closest(other, users),
                )


def parse_setting(data: bytes | str, path: str, name: str, modified_ms: int = 0) -> tuple[Setting | None, Faults]:
    """Any other setting: its value is what the YAML says, in JSON types; null for an empty file."""
    node, faults = load(data, path)
    return (None if node is None else Setting(name, node.value, path, modified_ms=modified_ms)), faults


def parse_flow(data: bytes, path: str, client_name: str, name: str, modified_ms: int = 0) -> tuple[Flow | None, Faults]:
    """A flow's source, decoded as Python decodes it (PEP 263); whether it compiles is found out elsewhere."""
    source, script_hash, faults = _read_source(data, path)
    if faults:
        return None, faults
    # Who does not write the word does not import from there; the compiler says who does.
    library = NO_LIBRARY if _LIB.search(source) else None
    flow = Flow(sys.intern(client_name), sys.intern(name), source, script_hash, path, library, modified_ms=modified_ms)
    return flow, ()


def parse_module(data: bytes, path: str, client_name: str, name: str) -> tuple[Module | None, Faults]:
    """A helper module's source, decoded as a flow's."""
    source, script_hash, faults = _read_source(data, path)
    if faults:
        return None, faults
    return Module(sys.intern(client_name), sys.intern(name), source, script_hash, path), ()


def _read_source(data: bytes, path: str) -> tuple[str, str, Faults]:
    """A source, its hash, and why it cannot be decoded."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        source = data.decode(encoding)
        return source, hashlib.sha256(source.encode()).hexdigest(), ()
    except (SyntaxError, ValueError, LookupError) as error:
        # SyntaxError: an unknown or contradictory encoding; UnicodeError is a ValueError; LookupError: not a text one.
        line = data.count(b"\n", 0, error.start) + 1 if isinstance(error, UnicodeDecodeError) else 1
        what = str(error) if isinstance(error, SyntaxError) else "cannot be decoded"
        fault = Fault(path, line, "", what, "UTF-8, or the encoding that its first lines name (PEP 263)")
        return "", "", (fault,)
