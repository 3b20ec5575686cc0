"""A webhook's setting, `client.webhook.<name>`: one table of its fields, and from a file or saved value to a Webhook.

Which names are known, what is hidden from operators and what a file must not show to others all follow from the table:
a new field is a row (and, where it is used, an attribute of WebhookSource and Webhook). None of the functions raises
for what a file holds, and no fault repeats a key. Nothing here does I/O.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from dataclasses import field as dataclass_field
from functools import lru_cache
from typing import Any, Final

from ..auth.callers import OPEN, KeyCheck
from ..auth.combined import AllOf
from ..model.answering import EXECUTION, Answering
from ..model.caller_check import CallerCheck
from ..model.options import LIMIT_NAMES, Limits, Options, option_fields
from ..model.snapshot import BrokenWebhook, Fault, Webhook
from ..wire.suggest import closest
from .answering import answering_of, read_answer, read_answer_headers, read_answer_status
from .dedup import Dedup, DedupSource, derive_dedup, read_dedup
from .document import LIST, MAP, NULL, TEXT, Node, load, node_of
from .fields import FieldFaults, known_fields, read_bool, read_mapping, read_text, read_texts, shown
from .handshakes import check_handshake, consent_of, read_handshake
from .only import Only, read_only
from .parse import ISOLATIONS, Faults, read_option
from .tree import WEBHOOK_PREFIX
from .verify import NO_CONTENT, SHOWN_MEMBERS, Now, Verify, check_by_flow, read_verify

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What a webhook takes that names none.
DEFAULT_METHODS: Final = ("GET", "POST")
# The largest body of a webhook whose sender signs members of it, unless its setting says another: such a body is read
# before anybody has proved anything (SENDERS 1).
PARSED_FIRST_BYTES: Final = 1_048_576
# Stands where an operator would read a secret.
MASK: Final = "********"
# The keys of the documentation and of the checkout's examples, which everybody knows, so that no file need hide them:
# git keeps no mode but the x bit, and who checks whd out is not to be warned of its examples.
DOCUMENTED_KEYS: Final = frozenset({b"my-secret-api-key", b"change-this-webhook-secret"})

# Gives a field's value, or None with a fault (see fields.py); takes the node, its line, the field's name, the faults.
ReadField = Callable[[Node, int, str, FieldFaults], Any]


@dataclass(frozen=True, slots=True)
class WebhookField:
    """A field of a webhook's setting.

    `default`: its value where it is left out. `is_secret`: operators see MASK, and a file that others can read is worth
    a warning, which says that it holds a `noun`; `shown_members`: these members of its mappings are shown
    all the same. `tightens`: an option of whd.yaml's, which a webhook can only narrow. `by_flow`: a
    webhook that a flow saved may have it.
    """

    name: str
    read: ReadField
    default: Any = None
    is_required: bool = False
    is_secret: bool = False
    noun: str = "secret"
    shown_members: frozenset[str] = frozenset()
    tightens: bool = False
    by_flow: bool = False


def _read_key(node: Node, line: int, field: str, report: FieldFaults) -> tuple[bytes, ...] | None:
    if node.kind == NULL or (node.kind == TEXT and not node.value):
        # Most likely a variable that nobody filled in: it must not become a webhook without a key.
        report.fault(line, field, "is empty", "text that is not empty, or no such field for a webhook without a key")
        return None
    if node.kind == LIST and not node.items:
        report.fault(line, field, "is an empty list", "at least one key, or no such field for a webhook without a key")
        return None
    keys = read_texts(node, line, field, report, secret=True, one_will_do=True)
    return None if keys is None else tuple(key.encode() for key in keys)


def _read_methods(node: Node, line: int, field: str, report: FieldFaults) -> tuple[str, ...] | None:
    names = read_texts(node, line, field, report)
    if names == ():
        report.fault(
            line, field, "is an empty list", f"some of {', '.join(METHODS)}; enabled: false switches a webhook off"
        )
        return None
    for name in names or ():
        if name not in METHODS:
            report.fault(line, field, f"there is no method {shown(name)}", ", ".join(METHODS), closest(name, METHODS))
            return None
    # In one order and one object for all, so that equal ones share.
    return None if names is None else _methods(frozenset(names))


@lru_cache(maxsize=32)
def _methods(names: frozenset[str]) -> tuple[str, ...]:
    return tuple(method for method in METHODS if method in names)


def _rows_that_tighten() -> list[WebhookField]:
    def reader(option: Any) -> ReadField:
        return lambda node, line, field, report: read_option(option, node, line, report)

    names = (*LIMIT_NAMES, "isolation", "show_script")
    return [
        WebhookField(option.name, reader(option), tightens=True, by_flow=True)
        for option in option_fields()
        if option.name in names
    ]


_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\{\{.*\}\}", re.DOTALL)

WEBHOOK_FIELDS: Final[dict[str, WebhookField]] = {
    row.name: row
    for row in (
        WebhookField("flow_name", read_text, is_required=True, by_flow=True),
        WebhookField("user_name", read_text, is_required=True, by_flow=True),
        WebhookField("key", _read_key, default=(), is_secret=True, noun="key", by_flow=True),
        WebhookField("verify", read_verify, is_secret=True, shown_members=SHOWN_MEMBERS, by_flow=True),
        WebhookField("enabled", read_bool, default=True, by_flow=True),
        WebhookField("methods", _read_methods, default=_methods(frozenset(DEFAULT_METHODS)), by_flow=True),
        *_rows_that_tighten(),
        WebhookField("only", read_only, by_flow=True),
        WebhookField("dedup", read_dedup, by_flow=True),
        WebhookField("unwrap", read_text, by_flow=True),
        WebhookField("answer", read_answer, by_flow=True),
        WebhookField("answer_status", read_answer_status, by_flow=True),
        WebhookField("answer_headers", read_answer_headers),
        WebhookField("ack", read_bool, by_flow=True),
        WebhookField("handshake", read_handshake),
        WebhookField("status_key", _read_key, default=(), is_secret=True, noun="key"),
    )
}


def _placeholder_lines(node: Node) -> Iterator[int]:
    """Where a secret, or a part of one, looks like what a template or a shell would have replaced."""
    if node.kind == TEXT:
        if _PLACEHOLDER.search(node.text):
            yield node.line
    elif node.kind in (LIST, MAP):
        parts = node.items if node.kind == LIST else [value for _line, value in node.items.values()]
        for part in parts:
            yield from _placeholder_lines(part)


def masked(name: str, value: Any) -> Any:
    """A setting's value as an operator sees it: a webhook's secrets are replaced, their number is not."""
    if not name.startswith(WEBHOOK_PREFIX) or type(value) is not dict:
        return value
    return {
        field: _mask(item, WEBHOOK_FIELDS[field].shown_members)
        if field in WEBHOOK_FIELDS and WEBHOOK_FIELDS[field].is_secret
        else item
        for field, item in value.items()
    }


def _mask(secret: Any, shown_members: frozenset[str]) -> Any:
    if type(secret) is list:
        return [_mask(item, shown_members) for item in secret]
    if shown_members and type(secret) is dict:
        # What has another name may be a secret that slipped to the left.
        return {name: item if name in shown_members else _mask(item, frozenset()) for name, item in secret.items()}
    return MASK


def _is_documented(secret: Any) -> bool:
    keys = tuple(text.encode() for text in secret.secrets) if isinstance(secret, Verify) else secret
    return type(keys) is tuple and DOCUMENTED_KEYS.issuperset(keys)


@dataclass(frozen=True, slots=True)
class WebhookSource:
    """A webhook's setting as written, before the daemon's options have their say.

    `secrets` holds (field, line) of what is secret in it, `tighter` (field, value, line) of the fields that may only
    tighten; `value` is the whole setting for flows.
    """

    client_name: str
    name: str
    flow_name: str
    flow_line: int
    user_name: str
    user_line: int
    keys: tuple[bytes, ...] = dataclass_field(repr=False)
    verify: Verify | None = dataclass_field(repr=False)
    secrets: tuple[tuple[str, int], ...]
    enabled: bool
    methods: tuple[str, ...]
    tighter: tuple[tuple[str, Any, int], ...]
    value: dict[str, Any]
    path: str
    modified_ms: int = dataclass_field(default=0, compare=False)
    only: Only | None = None
    dedup: Dedup | None = None
    answering: Answering | None = None
    handshake: str | None = None
    status_keys: tuple[bytes, ...] = dataclass_field(default=(), repr=False)
    unwrap: str | None = None


def read_webhook(
    data: bytes | str, path: str, client_name: str, name: str, modified_ms: int = 0, *, salvage: bool = False
) -> tuple[WebhookSource | None, Faults]:
    """A `client.webhook.<name>` file by itself; `derive_webhook` makes a Webhook of it under given options.

    `salvage`: gives one that has faults as well, for the checks of what it names, if it names anything.
    """
    node, faults = load(data, path, shown_names=WEBHOOK_FIELDS, salvage=salvage)
    if node is None:
        return None, faults
    report = FieldFaults(path, faults)
    return _source_of(node, path, client_name, name, report, modified_ms, salvage=salvage)


def read_saved_webhook(
    value: Any, path: str, client_name: str, name: str, *, by_flow: bool = True
) -> tuple[WebhookSource | None, Faults]:
    """Reads a value that was saved; of JSON types, nested at most document.MAX_DEPTH levels.

    `by_flow`: a flow saved it, and not an operator by command. Then it may have only some of the fields.
    """
    return _source_of(node_of(value), path, client_name, name, FieldFaults(path), by_flow=by_flow)


def _source_of(
    node: Node,
    path: str,
    client_name: str,
    name: str,
    report: FieldFaults,
    modified_ms: int = 0,
    *,
    salvage: bool = False,
    by_flow: bool = False,
) -> tuple[WebhookSource | None, Faults]:
    found = read_mapping(node, node.line, "", report, "a mapping with flow_name and user_name")
    if found is None:
        return None, report.result()
    if found:
        known_fields(node, WEBHOOK_FIELDS, report, secret=True)
    given = {field: row.default for field, row in WEBHOOK_FIELDS.items()}
    secrets = []
    tighter = []
    for field, (line, value) in found.items():
        if field not in WEBHOOK_FIELDS:
            continue
        row = WEBHOOK_FIELDS[field]
        if by_flow and not row.by_flow:
            report.fault(line, field, "is for operators; a webhook that a flow saved cannot have it", "no such field")
            continue
        given[field] = row.read(value, line, field, report)
        if by_flow and field == "verify" and given[field] is not None:
            check_by_flow(given[field], field, report)
        if row.tightens and given[field] is not None:
            tighter.append((row.name, given[field], line))
        if row.is_secret and not _is_documented(given[field]):
            secrets.append((row.name, line))
            for at in _placeholder_lines(value):
                what = f"the {row.noun} holds ${{…}} or {{{{…}}}}, which nothing fills in: it counts as it stands"
                report.warning(
                    at or line, field, what, f"the {row.noun} itself; a deployment fills in templates before"
                )
    for field, row in WEBHOOK_FIELDS.items():
        if row.is_required and field not in found:
            report.fault(node.line, field, "is missing", f"{field}: NAME")
    if "handshake" in found and given["handshake"] is not None:
        check_handshake(given["handshake"], found["handshake"][0], given["verify"], report)
    dedup_source: DedupSource | None = given["dedup"]
    dedup = None if dedup_source is None or report.failed else derive_dedup(dedup_source, given["verify"], report)
    if report.failed and not (salvage and given["flow_name"] and given["user_name"]):
        return None, report.result()
    flow_name, user_name = sys.intern(given["flow_name"]), sys.intern(given["user_name"])
    raw = {sys.intern(field): item for field, item in node.value.items()}
    raw |= {"flow_name": flow_name, "user_name": user_name}
    source = WebhookSource(
        sys.intern(client_name),
        name,
        flow_name,
        found["flow_name"][0],
        user_name,
        found["user_name"][0],
        given["key"],
        given["verify"],
        tuple(secrets),
        given["enabled"],
        given["methods"],
        tuple(tighter),
        raw,
        path,
        modified_ms,
        given["only"],
        dedup,
        answering_of(given, given["verify"]),
        given["handshake"],
        given["status_key"],
        given["unwrap"],
    )
    return source, report.result()


def _caller_check(source: WebhookSource, now: Now) -> CallerCheck:
    """What the setting asks of callers: each of its fields that asks for something must hold."""
    checks: list[CallerCheck] = []
    if source.keys:
        checks.append(KeyCheck(source.keys))
    if source.verify is not None:
        checks.append(source.verify.check(now))
    return AllOf(tuple(checks)) if len(checks) > 1 else checks[0] if checks else OPEN


def _status_check(source: WebhookSource, caller_check: CallerCheck) -> CallerCheck | None:
    """What is asked of who looks at executions: the keys for that, else the webhook's. None: nobody may look."""
    if source.status_keys:
        return KeyCheck(source.status_keys)
    if source.keys:
        return KeyCheck(source.keys)
    return caller_check if source.verify is None else None


def derive_webhook(source: WebhookSource, options: Options, now: Now) -> tuple[Webhook, Faults]:
    """The webhook under `options`: the stricter value of each limit, a warning for each looser one in the file.

    A fault that is no warning means that it must not serve: it cannot do what it says under these options.
    """
    limits, isolation, show_script = limits_of(options), options.isolation, options.show_script
    warnings: Faults = ()
    if source.tighter:
        report = FieldFaults(source.path)
        changes: dict[str, Any] = {}
        for field, value, line in source.tighter:
            bound = getattr(options, field)
            if _is_looser(field, value, bound):
                report.warning(
                    line, field, f"{_as_yaml(value)} is looser than the daemon's {_as_yaml(bound)}, which holds",
                    "a stricter value, or another one in whd.yaml",
                )  # fmt: skip
            elif field in LIMIT_NAMES:
                changes[field] = value
            elif field == "isolation":
                isolation = value
            else:
                show_script = value
        limits = _narrowed(limits, tuple(changes.items())) if changes else limits
        warnings = report.result()
    if source.verify is not None and source.verify.parses_first:
        given = {name for name, _value, _line in source.tighter}
        if "max_body_bytes" not in given and limits.max_body_bytes > PARSED_FIRST_BYTES:
            limits = _narrowed(limits, (("max_body_bytes", PARSED_FIRST_BYTES),))
    caller_check = _caller_check(source, now)
    retention_s = int(options.retention_minutes * 60)
    dedup = source.dedup.within(retention_s) if source.dedup is not None else None
    if dedup is not None and dedup.window_s > retention_s:
        # What is gone looks like what never came.
        warnings += (
            Fault(
                source.path, dedup.line, "dedup.window_s", f"{dedup.window_s} is beyond retention_minutes",
                f"at most {retention_s}, or more retention_minutes in whd.yaml",
            ),
        )  # fmt: skip
    rules = [rule for rule in (source.only, dedup) if rule is not None]
    consent = consent_of(source.handshake, source.verify, KeyCheck(source.keys) if source.keys else OPEN)
    webhook = Webhook(
        source.client_name,
        source.name,
        source.flow_name,
        source.user_name,
        caller_check,
        source.enabled,
        source.methods,
        show_script,
        isolation,
        limits,
        source.path,
        _joined(
            caller_check.pointers,
            () if consent is None else consent.handshake.pointers,
            *(rule.pointers for rule in rules),
        ),
        source.only,
        _success_status(source),
        bool(rules),
        dedup,
        source.answering,
        consent,
        _status_check(source, caller_check),
        source.unwrap or (source.verify.unwrap if source.verify is not None else ""),
    )
    return webhook, warnings + _told_to_the_sender(source) + _can_be_repeated(source)


def _can_be_repeated(source: WebhookSource) -> Faults:
    """What was signed once is signed for ever, where nothing says when that was or whether it came before."""
    if source.verify is None or source.dedup is not None or not source.verify.is_timeless:
        return ()
    proof = source.verify.proofs[0]
    by = "true" if proof.preset is not None and proof.preset.dedup else "{by: body}"
    report = FieldFaults(source.path)
    report.warning(
        proof.line, "dedup", f"whoever gets hold of a delivery can send it again: {proof.title} signs no time",
        f"dedup: {by}, or a flow that may run twice",
    )  # fmt: skip
    return report.result()


def _success_status(source: WebhookSource) -> int:
    """That of a call that was taken and runs nothing."""
    if source.answering is not None and source.answering.status is not None:
        return source.answering.status
    return source.verify.success_status if source.verify is not None else NO_CONTENT


def _told_to_the_sender(source: WebhookSource) -> Faults:
    """Senders keep the answers that they get, and show them in their log of deliveries."""
    answering = source.answering
    if source.verify is None or (answering is not None and (answering.is_ack or answering.form != EXECUTION)):
        return ()
    report = FieldFaults(source.path)
    report.warning(
        source.verify.proofs[0].line, "answer",
        "the sender gets the execution's record, with the flow's source, into its log of deliveries",
        "answer: none, answer: output or ack: true",
    )  # fmt: skip
    return report.result()


def served(webhook: Webhook, faults: Faults) -> Webhook | BrokenWebhook:
    """What stands in the snapshot for a webhook that was derived with these faults."""
    if all(fault.is_warning for fault in faults):
        return webhook
    return BrokenWebhook(webhook.client_name, webhook.name, webhook.path)


def _joined(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pointer for group in groups for pointer in group))


def _is_looser(field: str, value: Any, bound: Any) -> bool:
    if field == "isolation":
        return bool(ISOLATIONS.index(value) < ISOLATIONS.index(bound))
    return bool(value > bound)


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


@lru_cache(maxsize=16)
def limits_of(options: Options) -> Limits:
    """The options' limits alone, the same object for equal ones."""
    return Limits(**{limit.name: getattr(options, limit.name) for limit in fields(Limits)})


@lru_cache(maxsize=4096)
def _narrowed(limits: Limits, changes: tuple[tuple[str, Any], ...]) -> Limits:
    merged = {name: getattr(limits, name) for name in LIMIT_NAMES} | dict(changes)
    return Limits(**merged)
