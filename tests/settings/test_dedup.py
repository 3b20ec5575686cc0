"""`dedup`: which deliveries are one, and what is wrong with the field."""

from __future__ import annotations

from typing import Any

import pytest

from whd.model.delivery import Delivery
from whd.model.options import Options
from whd.senders.locators import parse_locator
from whd.senders.presets import PRESETS
from whd.senders.values import pointers_of
from whd.settings.dedup import Dedup
from whd.settings.index import Index

from .trees import WEBHOOK, Tree
from .webhook_files import parse_webhook

START = "flow_name: a\nuser_name: b\n"
SECRET = "0123456789abcdef0123"


def rule_of(text: str, options: Options | None = None) -> Dedup:
    webhook, faults = parse_webhook(START + text, "w.yaml", "acme", "x", options or Options())
    assert not [fault for fault in faults if not fault.is_warning], faults
    assert webhook is not None
    assert isinstance(webhook.dedup, Dedup)
    assert webhook.has_rules
    return webhook.dedup


def preset(name: str, secret: str = SECRET) -> str:
    return f"verify: {{scheme: {name}, secret: {secret}}}\ndedup: true\n"


def delivery(
    rule: Dedup, *, owner: str = "x", proof: bytes = b"", event: str = "", digest: bytes = b"d" * 32, **picked: str
) -> Delivery | None:
    headers = ((b"x-id", event.encode()),) if event else ()
    pointers: dict[str, str | None] = {"/" + name: text for name, text in picked.items()}
    return rule.delivery(("acme", owner), proof, headers, {}, pointers, digest, 1_000)


BY_HEADER = 'dedup: {by: "header:X-Id", window_s: 60}\n'
BY_BOTH = 'dedup: {by: ["header:X-Id", "json:/n"]}\n'


class TestId:
    def test_deliveries_with_one_id_are_one(self) -> None:
        rule = rule_of(BY_HEADER)
        assert delivery(rule, event="1") == delivery(rule, event="1") != delivery(rule, event="2")

    def test_the_window_begins_with_the_delivery(self) -> None:
        found = delivery(rule_of(BY_HEADER), event="1")
        assert found is not None
        assert found.until_ms == 61_000

    def test_an_id_belongs_to_one_webhook_and_one_secret(self) -> None:
        rule = rule_of(BY_HEADER)
        found = {delivery(rule, event="1", owner=owner, proof=proof) for owner in "xy" for proof in (b"", b"s", b"t")}
        assert len(found) == 6

    def test_several_parts_are_one_id(self) -> None:
        rule = rule_of(BY_BOTH)
        assert delivery(rule, event="1", n="23") != delivery(rule, event="12", n="3")

    @pytest.mark.parametrize("given", [{"event": "1"}, {"n": "1"}, {"event": "1", "n": ""}, {}])
    def test_what_lacks_a_part_has_no_id(self, given: dict[str, Any]) -> None:
        assert delivery(rule_of(BY_BOTH), **given) is None

    def test_by_body_the_body_is_the_id(self) -> None:
        rule = rule_of("dedup: {by: body}\n")
        assert delivery(rule) == delivery(rule) != delivery(rule, digest=b"e" * 32)
        assert delivery(rule) != delivery(rule, proof=b"s")

    def test_of_a_senders_ids_the_first_that_is_there_counts(self) -> None:
        rule = rule_of(preset("mailgun"))
        assert rule.pointers == ("/signature/token", "/token")
        given: dict[str, str | None] = {"/signature/token": None, "/token": "t"}
        assert rule.delivery(("acme", "x"), b"", (), {}, given, b"", 0) is not None


WITHOUT_ID = {name for name, row in PRESETS.items() if not row.dedup}


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - WITHOUT_ID))
def test_true_takes_the_id_of_each_sender(name: str) -> None:
    """Found where its row says, whichever of the locators is there."""
    row = PRESETS[name]
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if name == "standard-webhooks" else SECRET
    url = ", url: 'https://example.com/x'" if row.needs_url else ""
    rule = rule_of(f"verify: {{scheme: {name}, secret: {secret}{url}}}\ndedup: true\n")
    assert rule.is_signed is row.is_id_signed
    for text in row.dedup:
        locator = parse_locator(text)
        headers = ((locator.field_name, b"id-1"),) if locator.kind == "header" else ()
        picked: dict[str, str | None] = dict.fromkeys(pointers_of([locator]), "id-1")
        assert rule.delivery(("acme", "x"), b"", headers, {}, picked, b"", 0) is not None, text
    assert rule.delivery(("acme", "x"), b"", (), {}, {}, b"", 0) is None


class TestBody:
    """Where the id is in the signed bytes it counts alone; elsewhere bodies are compared."""

    @pytest.mark.parametrize(
        ("text", "compares"),
        [
            (preset("stripe"), False),
            (preset("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), False),
            (preset("github"), True),
            (preset("telegram"), True),
            (BY_HEADER, True),
            ('dedup: {by: "json:/id"}\n', True),
            ("dedup: {by: body}\n", False),
            (f'verify: {{scheme: github, secret: {SECRET}}}\ndedup: {{by: "json:/id"}}\n', False),
            (f'verify: {{scheme: github, secret: {SECRET}}}\ndedup: {{by: "header:X-Id"}}\n', True),
            (f'verify: {{scheme: github, secret: {SECRET}}}\ndedup: {{by: ["json:/id", "query:n"]}}\n', True),
            (f'verify: {{scheme: telegram, secret: {SECRET}}}\ndedup: {{by: "json:/id"}}\n', True),
            (f'verify: {{scheme: bearer, secret: {SECRET}}}\ndedup: {{by: "json:/id"}}\n', True),
            (
                f'verify: {{scheme: hmac, secret: {SECRET}, header: X-Sig, signed: "{{header:X-ID}}.{{body}}"}}\n'
                + BY_HEADER,
                False,
            ),
            (
                f'verify: {{scheme: hmac, secret: {SECRET}, header: X-Sig, signed: "{{id}}.{{body}}", '
                f'id: "header:x-id"}}\n' + BY_HEADER,
                False,
            ),
            (
                f"verify: [{{scheme: github, secret: {SECRET}}}, {{scheme: bearer, secret: {SECRET}}}]\n"
                'dedup: {by: "json:/id"}\n',
                True,
            ),
            # A client's promise about its own bodies.
            (f'verify: {{scheme: github, secret: {SECRET}}}\ndedup: {{by: "header:idempotency-key"}}\n', True),
        ],
    )
    def test_is_compared(self, text: str, compares: bool) -> None:
        rule = rule_of(text)
        assert rule.compares_body is compares
        assert rule.needs_digest is (compares or "by: body}" in text)

    def test_another_body_with_the_id_is_another_delivery(self) -> None:
        rule = rule_of(BY_HEADER)
        one, other = (delivery(rule, event="1", digest=digest * 32) for digest in (b"d", b"e"))
        assert one is not None
        assert other is not None
        assert (one.key, one.body) == (other.key, b"d" * 32)

    def test_only_the_idempotency_key_by_itself_must_be_unique(self) -> None:
        assert rule_of('dedup: {by: "header:Idempotency-KEY"}\n').is_unique
        assert not rule_of('dedup: {by: ["header:Idempotency-Key", "json:/a"]}\n').is_unique
        assert not rule_of(BY_HEADER).is_unique


class TestWindow:
    def test_is_a_day_or_what_retention_allows(self) -> None:
        text = 'dedup: {by: "header:X-Id"}\n'
        assert rule_of(text).window_s == 86_400
        assert rule_of(text, Options(retention_minutes=5)).window_s == 300

    def test_one_beyond_retention_is_a_fault_and_the_webhook_does_not_serve(self, tmp_path: Any) -> None:
        tree = Tree(tmp_path)
        tree.write("config/whd.yaml", "retention_minutes: 1\n")
        text = WEBHOOK.format(key="k" * 16) + 'dedup: {by: "header:X-Id", window_s: 61}\n'
        tree.write("config/acme/settings/client.webhook.x.yaml", text, mode=0o640)
        snapshot = Index(str(tree.config), str(tree.flows)).load()
        (fault,) = [fault for fault in snapshot.faults if not fault.is_warning]
        assert "dedup.window_s: 61 is beyond retention_minutes; expected at most 60" in str(fault)
        assert type(snapshot.clients["acme"].webhooks["x"]).__name__ == "BrokenWebhook"
        assert rule_of(BY_HEADER, Options(retention_minutes=1)).window_s == 60


def test_false_is_none() -> None:
    webhook, faults = parse_webhook(f"{START}dedup: false\n", "w.yaml", "acme", "x", Options())
    assert not faults
    assert webhook is not None
    assert (webhook.dedup, webhook.has_rules) == (None, False)


def test_after_error_says_whether_a_failure_counts() -> None:
    assert rule_of(BY_HEADER).runs_after_error
    assert not rule_of('dedup: {by: "header:X-Id", after_error: replay}\n').runs_after_error


def test_an_unsigned_id_of_a_signed_delivery_is_worth_a_warning() -> None:
    text = f'verify: {{scheme: github, secret: {SECRET}}}\ndedup: {{by: "header:X-Id"}}\n'
    _, faults = parse_webhook(START + text, "w.yaml", "acme", "x", Options())
    assert "warning: dedup.by: is not signed" in str(faults[0])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("dedup: true\n", "there is no sender whose id it could take"),
        (f"verify: {{scheme: bearer, secret: {SECRET}}}\ndedup: true\n", "there is no sender whose id it could take"),
        (preset("meta"), "Meta (Facebook, Instagram, WhatsApp) sends no id of a delivery"),
        ("dedup: body\n", "is neither true nor a mapping"),
        ("dedup: {}\n", "dedup: is empty"),
        ("dedup: {bye: body}\n", "did you mean by?"),
        ("dedup: {by: x-id}\n", "dedup.by: 'x-id' names nothing of a request"),
        ("dedup: {by: []}\n", "dedup.by: is a list of 0"),
        ("dedup: {by: body, window_s: 0}\n", "dedup.window_s: is no number of seconds"),
        ("dedup: {by: body, after_error: rnu}\n", "did you mean run?"),
    ],
)
def test_a_fault_says_what_is_wrong(text: str, what: str) -> None:
    webhook, faults = parse_webhook(START + text, "w.yaml", "acme", "x", Options())
    assert webhook is None
    assert what in " ".join(str(fault) for fault in faults if not fault.is_warning)
