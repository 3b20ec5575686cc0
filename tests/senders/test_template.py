"""What is signed, as a text with words."""

from __future__ import annotations

import pytest

from whd.senders.locators import Locator
from whd.senders.template import BadTemplate, Template, Word, compile_template


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("{body}", Template((), True, ())),
        ("v0:{timestamp}:{body}", Template((b"v0:", Word("timestamp"), b":"), True, ())),
        ("{body}{url}", Template((), True, (Word("url"),))),
        ("{{{method}}}{body}", Template((b"{", Word("method"), b"}"), True, ())),
        (
            "{header:X-Id}|{json:/a/b}",
            Template(
                (Word("locator", Locator("header", "X-Id")), b"|", Word("locator", Locator("json", "/a/b"))), False, ()
            ),
        ),
    ],
)
def test_templates(text: str, template: Template) -> None:
    assert compile_template(text) == template


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing of the request"),
        ("abc", "nothing of the request"),
        ("{body}{body}", "twice"),
        ("{bod}", "no word {bod}"),
        ("{body", "single {"),
        ("body}", "single }"),
        ("{json:a}", "JSON pointer"),
        ("{header:}", "name of a header"),
    ],
)
def test_what_is_no_template(text: str, why: str) -> None:
    with pytest.raises(BadTemplate, match=why):
        compile_template(text)
