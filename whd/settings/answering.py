"""`answer`, `answer_status`, `answer_headers` and `ack` of a webhook's setting (SENDERS 8). Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..model.answering import EXECUTION, FORMS, Answering
from ..model.caller_check import Headers
from ..wire.response_headers import HeaderRefused, Setter, read_fields
from .document import INT, Node
from .fields import FieldFaults, read_choice, read_mapping, read_texts
from .verify import Verify

# As a flow's own answer may have (FLOW_API, webhook_response).
LOWEST_STATUS: Final = 200
HIGHEST_STATUS: Final = 599


def read_answer(node: Node, line: int, field: str, report: FieldFaults) -> str | None:
    """One of FORMS."""
    return read_choice(node, line, field, report, FORMS)


def read_answer_status(node: Node, line: int, field: str, report: FieldFaults) -> int | None:
    """A status that an answer can have."""
    if node.kind != INT or not LOWEST_STATUS <= node.value <= HIGHEST_STATUS:
        report.fault(line, field, "is no status", f"a whole number from {LOWEST_STATUS} to {HIGHEST_STATUS}")
        return None
    return int(node.value)


def read_answer_headers(node: Node, line: int, field: str, report: FieldFaults) -> Headers | None:
    """Names to texts or lists of texts, within what an operator may set (wire/response_headers)."""
    items = read_mapping(node, line, field, report, "names and texts, as in {Content-Language: de}")
    if items is None:
        return None
    found: list[tuple[str, str | list[str]]] = []
    names: set[str] = set()
    is_good = True
    for name, (item_line, value) in items.items():
        texts = read_texts(value, item_line, f"{field}.{name[:60]}", report, one_will_do=True)
        if texts is None:
            is_good = False
            continue
        try:
            read_fields([(name, list(texts))], Setter.OPERATOR)
            if name.lower() in names:
                raise HeaderRefused(f"the header {name!r} is there twice; names are the same in any case")
        except HeaderRefused as refused:
            report.fault(item_line, field, str(refused))
            is_good = False
        names.add(name.lower())
        found.append((name, list(texts)))
    if not is_good:
        return None
    try:
        fields = read_fields(found, Setter.OPERATOR)
    except HeaderRefused as refused:
        report.fault(line, field, str(refused))
        return None
    return tuple((name.encode("ascii"), text.encode("latin-1")) for name, text in fields)


def answering_of(given: Mapping[str, Any], verify: Verify | None) -> Answering | None:
    """The webhook's answers; None where its setting says nothing of them.

    `given`: the setting's fields as read. The sender's own idea of success is that of the first preset in `verify`.
    """
    form, status, is_ack = given["answer"] or EXECUTION, given["answer_status"], bool(given["ack"])
    headers: Headers = given["answer_headers"] or ()
    if form == EXECUTION and status is None and not is_ack and not headers:
        return None
    presets = [] if verify is None else [proof.preset for proof in verify.proofs if proof.preset is not None]
    if not presets:
        return Answering(form, is_ack, status, headers, status or 0)
    success = presets[0].success
    content_type: Headers = ((b"content-type", success.content_type.encode()),) if success.content_type else ()
    return Answering(form, is_ack, status, headers, status or success.status, content_type, success.body)
