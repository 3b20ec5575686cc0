"""A webhook that a flow saved can name no field beyond the list of SENDERS, at its top."""

from __future__ import annotations

from typing import Any

import pytest

from whd.model.options import LIMIT_NAMES
from whd.settings.webhooks import WEBHOOK_FIELDS, read_saved_webhook

ALLOWED = {
    "flow_name", "user_name", "key", "enabled", "methods", "verify", "dedup", "only", "raw_body", "unwrap", "subpaths",
    "cors", "answer", "answer_status", "ack", "concurrency", "rate", "retries", "on_error", "isolation", "show_script",
    *LIMIT_NAMES,
}  # fmt: skip
SECRET = "a-Secret-of-24-characters"


def faults_of(value: dict[str, Any], *, by_flow: bool = True) -> list[str]:
    minimal = {"flow_name": "a", "user_name": "b"}
    _, faults = read_saved_webhook({**minimal, **value}, "saved", "acme", "x", by_flow=by_flow)
    return [str(fault) for fault in faults if not fault.is_warning]


def test_no_row_of_the_table_is_beyond_the_list() -> None:
    assert {row.name for row in WEBHOOK_FIELDS.values() if row.by_flow} <= ALLOWED


@pytest.mark.parametrize("field", sorted(set(WEBHOOK_FIELDS) - ALLOWED))
def test_each_other_field_is_a_fault(field: str) -> None:
    assert any(f"{field}: is for operators" in fault for fault in faults_of({field: {}}))


@pytest.mark.parametrize(
    ("verify", "is_allowed"),
    [
        ({"scheme": "github", "secret": SECRET}, True),
        ({"scheme": "basic", "user": "a", "password": SECRET}, True),
        ({"scheme": "token", "header": "X-A", "secret": SECRET}, True),
        ({"scheme": "jwt", "algorithms": ["HS256"], "secret": SECRET}, False),
        ({"scheme": "bearer", "secret": SECRET}, False),
        ([{"scheme": "github", "secret": SECRET}, {"scheme": "bearer", "secret": SECRET}], False),
    ],
)
def test_of_schemes_only_some(verify: Any, is_allowed: bool) -> None:
    assert (faults_of({"verify": verify}) == []) == is_allowed


def test_what_an_operator_saves_by_command_is_as_a_file() -> None:
    assert faults_of({"status_key": SECRET, "answer_headers": {"X-A": "a"}}, by_flow=False) == []
