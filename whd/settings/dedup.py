"""`dedup` of a webhook's setting: what makes a delivery the repeat of another (SENDERS 4). Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from ..model.call_rules import DeliveryRule
from ..model.caller_check import Headers
from ..model.delivery import Delivery
from ..senders.locators import Locator, NotALocator, parse_locator
from ..senders.values import pointers_of, text_at
from ..wire.pointer import Picked
from .document import BOOL, INT, LIST, MAP, Node
from .fields import FieldFaults, known_fields, read_choice, read_mapping, read_text, shown
from .verify import Verify

BODY: Final = "body"
DEFAULT_WINDOW_S: Final = 86_400
MOST_WINDOW_S: Final = 31_536_000
MOST_PARTS: Final = 8
_EXPECTED: Final = 'true for the sender\'s own id, or as in {by: "header:X-Request-Id", window_s: 86400}'
_BY_EXPECTED: Final = "header:NAME, json:/pointer, query:NAME, body, or a list of them"
_IDEMPOTENCY_KEY: Final = b"idempotency-key"


@dataclass(frozen=True, slots=True)
class Dedup(DeliveryRule):
    """Deliveries with one id are one.

    `parts`: of the id; each is where to look for it, and the first that is there counts. `has_body`: the body's SHA-256
    is one more. `is_signed`: the proof covers the id, so it counts alone; else the bodies are compared too.
    `window_s`: 0 for a day, or what retention allows. `line`: where it stands.
    """

    parts: tuple[tuple[Locator, ...], ...]
    has_body: bool
    is_signed: bool
    runs_after_error: bool = True
    window_s: int = 0
    line: int = 0

    @property
    def pointers(self) -> tuple[str, ...]:
        return pointers_of(locator for part in self.parts for locator in part)

    @property
    def is_unique(self) -> bool:
        # The header by itself is a client's promise (IETF draft-ietf-httpapi-idempotency-key-header).
        return not self.has_body and [
            locator.kind == "header" and locator.field_name == _IDEMPOTENCY_KEY
            for part in self.parts
            for locator in part
        ] == [True]

    @property
    def compares_body(self) -> bool:
        """Whether another body makes it another delivery."""
        return self.is_unique or not (self.is_signed or self.has_body)

    @property
    def needs_digest(self) -> bool:
        return self.has_body or self.compares_body

    def delivery(
        self,
        owner: tuple[str, str],
        proof: bytes,
        headers: Headers,
        query: Mapping[str, Any],
        picked: Picked | None,
        digest: bytes,
        now_ms: int,
    ) -> Delivery | None:
        # Each text behind its length, so that no two lists of them are the same bytes.
        texts = [owner[0].encode(), owner[1].encode(), proof]
        for part in self.parts:
            found = [(locator, text_at(locator, headers, query, picked)) for locator in part]
            given = [(locator, text) for locator, text in found if text]
            if not given:
                return None
            locator, text = given[0]
            texts += [str(locator).lower().encode(), text.encode("utf-8", "surrogatepass")]
        if self.has_body:
            texts.append(digest)
        key = sha256(b"".join(b"%d:%b" % (len(text), text) for text in texts)).digest()
        return Delivery(key, digest if self.compares_body else b"", now_ms + self.window_s * 1_000)

    def within(self, retention_s: int) -> Dedup:
        """With the default window filled in."""
        return self if self.window_s else replace(self, window_s=min(DEFAULT_WINDOW_S, max(1, retention_s)))


@dataclass(frozen=True, slots=True)
class DedupSource:
    """The field as written. `by`: None for the sender's own id. `is_on`: False for `dedup: false`."""

    is_on: bool = True
    by: tuple[Locator | str, ...] | None = None
    window_s: int = 0
    after_error: str = "run"
    line: int = 0


def read_dedup(node: Node, line: int, field: str, report: FieldFaults) -> DedupSource | None:
    """Reads the field by itself; None with a fault."""
    if node.kind == BOOL:
        return DedupSource(bool(node.value), line=line)
    if node.kind != MAP:
        report.fault(line, field, "is neither true nor a mapping", _EXPECTED)
        return None
    items = read_mapping(node, line, field, report, _EXPECTED) or {}
    known_fields(node, ("by", "window_s", "after_error"), report, within=field)
    if not items:
        report.fault(line, field, "is empty", _EXPECTED)
        return None
    values: dict[str, Any] = {}
    readers = {"by": _read_by, "window_s": _read_window, "after_error": _read_after_error}
    for name, read in readers.items():
        if name in items:
            item_line, item = items[name]
            values[name] = read(item, item_line, f"{field}.{name}", report)
    if not items.keys() <= readers.keys() or None in values.values():
        return None
    return DedupSource(line=line, **values)


def _read_by(node: Node, line: int, field: str, report: FieldFaults) -> tuple[Locator | str, ...] | None:
    items = node.items if node.kind == LIST else [node]
    if not 0 < len(items) <= MOST_PARTS:
        report.fault(line, field, f"is a list of {len(items)}", f"one to {MOST_PARTS} of {_BY_EXPECTED}")
        return None
    parts = [_read_part(item, item.line or line, field, report) for item in items]
    good = tuple(part for part in parts if part is not None)
    return good if len(good) == len(parts) else None


def _read_part(node: Node, line: int, field: str, report: FieldFaults) -> Locator | str | None:
    text = read_text(node, line, field, report)
    if text is None or text == BODY:
        return text
    try:
        return parse_locator(text)
    except NotALocator:
        report.fault(line, field, f"{shown(text)} names nothing of a request", _BY_EXPECTED)
        return None


def _read_window(node: Node, line: int, field: str, report: FieldFaults) -> int | None:
    if node.kind != INT or not 1 <= node.value <= MOST_WINDOW_S:
        report.fault(line, field, "is no number of seconds", f"a whole number from 1 to {MOST_WINDOW_S}")
        return None
    return int(node.value)


def _read_after_error(node: Node, line: int, field: str, report: FieldFaults) -> str | None:
    return read_choice(node, line, field, report, ("run", "replay"))


def derive_dedup(source: DedupSource, verify: Verify | None, report: FieldFaults) -> Dedup | None:
    """The rule beside the webhook's other fields; None with a fault, or if there is none."""
    if not source.is_on:
        return None
    proofs = verify.proofs if verify is not None else ()
    if source.by is None:
        rows = [proof.preset for proof in proofs if proof.preset is not None]
        ids = tuple(dict.fromkeys(text for row in rows for text in row.dedup))
        if not ids or len(rows) < len(proofs):
            nameless = " or ".join(row.title for row in rows if not row.dedup)
            what = f"{nameless} sends no id of a delivery" if nameless else "there is no sender whose id it could take"
            report.fault(source.line, "dedup", what, f'where it stands, as in {{by: "json:/id"}}: {_BY_EXPECTED}')
            return None
        part = tuple(parse_locator(text) for text in ids)
        is_signed = all(row.is_id_signed for row in rows)
        rule = Dedup((part,), False, is_signed)
    else:
        parts = tuple((part,) for part in source.by if isinstance(part, Locator))
        is_signed = verify is not None and all(verify.signs(part) for part in source.by)
        rule = Dedup(parts, BODY in source.by, is_signed)
        if verify is not None and verify.signs(BODY) and not is_signed:
            report.warning(
                source.line, "dedup.by", "is not signed: who captured a delivery can repeat it under another id",
                "an id in the body, or body itself",
            )  # fmt: skip
    return replace(rule, runs_after_error=source.after_error == "run", window_s=source.window_s, line=source.line)
