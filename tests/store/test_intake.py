"""What waits to be written: each record once, in its last version, and counted as such."""

from typing import Any

from whd.store.intake import Intake
from whd.store.rows import Row, to_row

from .store_samples import make

FIRST = make()


def row(size_bytes: int, **fields: Any) -> Row:
    return to_row(make(id=FIRST.id, **fields))._replace(size_bytes=size_bytes)


def test_a_record_that_is_saved_again_counts_once_with_its_last_size() -> None:
    intake = Intake()
    for size_bytes in (700, 2_000, 900):
        assert intake.put(row(size_bytes, message=str(size_bytes)), "source")
        assert (intake.waiting, intake.waiting_bytes) == (1, size_bytes)
    found = intake.find(FIRST.id)
    assert found is not None
    assert (found[0].message, found[1]) == ("900", "source")


def test_also_when_one_of_the_versions_is_waited_for_or_could_not_be_written() -> None:
    intake = Intake()
    intake.put(row(700), None)
    intake.put_urgent(row(800), None, lambda _error: None)
    assert intake.waiting_bytes == 800
    # The writer takes what is there and cannot write it; meanwhile the record is saved again.
    intake.hold(intake.take())
    assert intake.waiting_bytes == 0, "its caller was answered that it is not kept"
    intake.put(row(900), None)
    intake.take()
    intake.put(row(1_000), None)
    batch = intake.take()
    assert [kept.size_bytes for kept in batch.rows.values()] == [batch.size_bytes] == [1_000]
    intake.written()
    assert (intake.waiting, intake.waiting_bytes, intake.find(FIRST.id)) == (0, 0, None)
