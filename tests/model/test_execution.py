"""The record of an execution: every change of its status, its id, and what a caller sees of it."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest

from whd.model import execution as model
from whd.model.execution import Event, Execution, Status, TransitionError, new_id, to_json

# CONTRACT 3: what may happen to an execution, by where it stands.
ALLOWED = {
    Status.PENDING: {
        Event.START: Status.RUNNING, Event.FAIL: Status.ENDED_ERROR, Event.CANCEL: Status.ENDED_CANCELLED,
        Event.REQUEUE: Status.PENDING,
    },
    Status.RUNNING: {
        Event.SUCCEED: Status.ENDED_SUCCESS, Event.FAIL: Status.ENDED_ERROR, Event.CANCEL: Status.ENDED_CANCELLED,
        Event.REQUEUE: Status.PENDING,
    },
}  # fmt: skip


def execution(status: Status = Status.PENDING, **fields: object) -> Execution:
    made = Execution("0198", "acme", "signup", "kevin", "hash", b'{"a":1}', status=status)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(("status", "event"), list(product(Status, Event)), ids=lambda each: each.name)
def test_every_event_in_every_status(status: Status, event: Event) -> None:
    one = execution(status)
    expected = ALLOWED.get(status, {}).get(event)
    if expected is None:
        with pytest.raises(TransitionError, match=rf"0198: {event.name} in {status.name}"):
            one.apply(event, now_ms=7)
        assert (one.status, one.started_ms, one.ended_ms, one.attempts) == (status, 0, 0, 0)
    else:
        one.apply(event, now_ms=7)
        assert one.status is expected
        assert one.started_ms == (7 if event is Event.START else 0)
        assert one.ended_ms == (7 if expected.is_ended else 0)
        assert one.attempts == (1 if event is Event.START else 0)


def test_what_has_ended_stays_so() -> None:
    assert {status for status in Status if status.is_ended} == {status for status in Status if "ENDED" in status.name}
    assert not any(status.is_ended for status, _event in model.TRANSITIONS)


def test_who_begins_anew_counts_its_attempts_and_has_not_started_meanwhile() -> None:
    one = execution()
    for attempt in (1, 2, 3):
        one.apply(Event.START, now_ms=attempt)
        assert (one.attempts, one.started_ms) == (attempt, attempt)
        one.apply(Event.REQUEUE, now_ms=99)
        assert (one.attempts, one.started_ms, one.ended_ms) == (attempt, 0, 0)


# ---- ids -------------------------------------------------------------------------------------------------------------


def test_an_id_is_a_uuid_of_version_7() -> None:
    """RFC 9562, 5.7: 48 bits of milliseconds, the version, the variant."""
    one = new_id(0x0123_4567_89AB)
    assert re.fullmatch(r"01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one)


def test_no_two_ids_are_alike_and_later_ones_sort_behind() -> None:
    same_moment = {new_id(1_000) for _ in range(5_000)}
    assert len(same_moment) == 5_000
    assert max(same_moment) < new_id(1_001)


def test_the_bits_that_nobody_can_guess_vary() -> None:
    ids = [new_id(1_000) for _ in range(500)]
    digits = [one.replace("-", "")[13:] for one in ids]
    for place in range(len(digits[0])):
        assert len({text[place] for text in digits}) > (3 if place == 3 else 8), place


def test_with_several_fronts_an_id_ends_with_its_fronts_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_random", model._random)
    model.use_front_number(7)
    ids = {new_id(1_000) for _ in range(100)}
    assert len(ids) == 100
    assert {one[-2:] for one in ids} == {"07"}


# ---- what a caller sees ----------------------------------------------------------------------------------------------


def test_a_record_is_one_json_object_with_its_values_as_they_travelled() -> None:
    one = execution(
        Status.ENDED_ERROR, message='a "quote" and a\nline', output_json=b'{"n":1e400}', created_ms=1_000,
        started_ms=2_000, ended_ms=3_000, webhook_name="signup", parent_id="p", replay_of="r", attempts=2,
    )  # fmt: skip
    text = to_json(one, "source é")
    assert b'"output_value":{"n":1e400}' in text
    record = json.loads(text)
    assert record.pop("output_value") == {"n": float("inf")}
    assert record == {
        "id": "0198", "type": "FLOW", "name": "signup", "flow_name": "signup", "webhook_name": "signup",
        "client_name": "acme", "user_name": "kevin", "status": "ENDED_ERROR", "message": 'a "quote" and a\nline',
        "script": "source é", "input_value": {"a": 1}, "created_at": "1970-01-01T00:00:01.000Z",
        "started_at": "1970-01-01T00:00:02.000Z", "ended_at": "1970-01-01T00:00:03.000Z", "attempts": 2,
        "parent_id": "p", "replay_of": "r",
    }  # fmt: skip


def test_what_has_not_happened_is_null_and_what_does_not_apply_is_left_out() -> None:
    record = json.loads(to_json(execution(input_json=b"", output_json=b""), None))
    assert (record["input_value"], record["output_value"], record["webhook_name"]) == (None, None, None)
    assert (record["started_at"], record["ended_at"]) == (None, None)
    assert not {"script", "parent_id", "replay_of"} & set(record)


@pytest.mark.parametrize("show_script", [True, False])
def test_the_script_is_shown_where_the_record_says_so(show_script: bool) -> None:
    assert ("script" in json.loads(to_json(execution(show_script=show_script), "source"))) is show_script


def test_a_name_of_its_own_stands_before_its_flows() -> None:
    assert json.loads(to_json(execution(name="mine"), None))["name"] == "mine"
    assert '"name":"signup"' in model.shared_names_json(execution(name="mine")), "which all calls of a webhook share"
