"""A row has every field of an execution, and an id as 16 bytes is the id."""

from dataclasses import fields

import pytest

from whd.model.execution import Cause, Execution, Status, new_id
from whd.store import encoding
from whd.store.rows import Row, cursor_bytes, first_id, from_row, origin_of, to_bytes, to_row, to_text

from .store_samples import FULL, SPARSE, make


def test_each_value_stands_under_the_name_of_its_field() -> None:
    """`to_row` makes a Row by position; each value of the sample is there once."""
    row = to_row(FULL)
    for field in fields(Execution):
        value = getattr(FULL, field.name)
        assert getattr(row, field.name) == (tuple(value) if field.name == "log" else value), field.name
    payload = (FULL.input_json, FULL.output_json, FULL.response_json, FULL.message, *FULL.log)
    assert row.size_bytes == 600 + sum(map(len, payload))


def test_a_field_that_is_added_to_the_record_is_not_forgotten_here() -> None:
    """A row has every field, and the size."""
    assert {*Row._fields} == {field.name for field in fields(Execution)} | {"size_bytes"}


@pytest.mark.parametrize("execution", [FULL, SPARSE], ids=["full", "sparse"])
def test_an_execution_comes_back_from_its_row(execution: Execution) -> None:
    assert from_row(to_row(execution)) == execution


def test_the_origin_is_what_ran_and_for_whom() -> None:
    row = to_row(make(webhook_name="push", key_webhook_name="signup", kind="TASK"))
    assert origin_of(row) == ("acme", "push", "signup", "signup", "kevin", "TASK", "a" * 64)


def test_every_status_has_a_code_and_every_cause_comes_back() -> None:
    assert {Status(name) for name in encoding.STATUS_CODES} == set(Status)
    for cause in Cause:
        assert from_row(to_row(make(cause=cause))).cause is cause


def test_ids_have_one_spelling() -> None:
    text = new_id()
    raw = to_bytes(text)
    assert raw is not None
    assert to_text(raw) == text
    for wrong in ("", "x", text.upper() + "0", text.replace("-", ""), text + "\n", f" {text}", "٣" * 8 + text[8:]):
        assert to_bytes(wrong) is None
        with pytest.raises(ValueError, match="no id"):
            cursor_bytes(wrong)
    assert cursor_bytes(None) is None


def test_ids_sort_by_the_moment_they_were_made() -> None:
    raw = to_bytes(new_id(1_700_000_000_000))
    assert raw is not None
    assert first_id(1_700_000_000_000) <= raw < first_id(1_700_000_000_001)
