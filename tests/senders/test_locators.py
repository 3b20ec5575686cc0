"""Where a value stands, and what is there."""

from __future__ import annotations

from typing import Any

import pytest

from whd.senders.locators import Locator, NotALocator, parse_locator
from whd.wire.pointer import MISSING, look_up, text_of


@pytest.mark.parametrize(
    ("text", "locator"),
    [
        ("header:X-GitHub-Event", Locator("header", "X-GitHub-Event")),
        ("query:id", Locator("query", "id")),
        ("json:/data/0/id", Locator("json", "/data/0/id")),
        ("json:", Locator("json", "")),
        ("form:payload", Locator("form", "payload")),
    ],
)
def test_locators(text: str, locator: Locator) -> None:
    assert parse_locator(text) == locator
    assert str(locator) == text


@pytest.mark.parametrize("text", ["", "X-Id", "cookie:a", "header:", "header:a b", "json:data", "json:/a~2", "query:"])
def test_what_is_no_place_says_what_was_expected(text: str) -> None:
    with pytest.raises(NotALocator, match="expected"):
        parse_locator(text)


DOCUMENT = {"a": {"b": [1, {"c": "d"}]}, "x/y": 1, "m~n": 2, "": 3, "10": "ten"}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/a/b/0", 1),
        ("/a/b/1/c", "d"),
        ("/x~1y", 1),
        ("/m~0n", 2),
        ("/", 3),
        ("/10", "ten"),
        ("/a/b/2", MISSING),
        ("/a/b/00", MISSING),
        ("/a/b/-", MISSING),
        ("/a/b/-1", MISSING),
        ("/a/z", MISSING),
        ("/10/0", MISSING),
    ],
)
def test_pointers(pointer: str, value: Any) -> None:
    """RFC 6901, 4 and 5."""
    assert look_up(DOCUMENT, pointer) is value or look_up(DOCUMENT, pointer) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (1, "1"), (True, "true"), (None, "null"), (1.5, "1.5"), (10**30, str(10**30)), ([], None), ({}, None)],
)
def test_values_as_text(value: Any, text: str | None) -> None:
    assert text_of(value) == text
    assert text_of(MISSING) is None
