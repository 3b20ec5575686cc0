"""When a parent's wait for its children is over."""

from __future__ import annotations

import pytest

from whd.executions.family import Child, Family, ReturnWhen
from whd.model.execution import Status

GOOD, BAD = Status.ENDED_SUCCESS, Status.ENDED_ERROR


@pytest.mark.parametrize(
    ("when", "ends", "decided"),
    [
        (ReturnWhen.ALL_ENDED, [("a", BAD), ("b", GOOD)], ["a", "b"]),
        (ReturnWhen.ALL_SUCCEEDED, [("b", GOOD), ("a", GOOD)], ["a", "b"]),
        (ReturnWhen.ALL_SUCCEEDED, [("b", BAD)], ["b"]),
        (ReturnWhen.FIRST_ENDED, [("b", BAD)], ["b"]),
    ],
)
def test_a_wait_ends_with_the_child_that_decides_it(
    when: ReturnWhen, ends: list[tuple[str, Status]], decided: list[str]
) -> None:
    family = Family()
    children = {name: Child(name, name) for name in "ab"}
    for child in children.values():
        family.add(child)
    heard: list[list[str]] = []
    family.wait(list(children.values()), when, lambda result: heard.append([child.id for child in result]))
    assert family.awaited == {"a", "b"}
    for name, status in ends:
        assert heard == []
        family.end(children[name], status, "")
    assert heard == [decided]
    assert family.awaited == frozenset()
    family.end(children["a"], GOOD, "")
    assert heard == [decided]


def test_a_wait_that_is_decided_already_is_over_at_once() -> None:
    family = Family()
    child = Child("a", "a", GOOD)
    heard: list[list[Child]] = []
    family.wait([child], ReturnWhen.ALL_ENDED, heard.append)
    assert heard == [[child]]
    assert family.awaited == frozenset()
