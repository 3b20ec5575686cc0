"""What is recorded of a script and the helper modules that ran with it."""

from __future__ import annotations

import json

import pytest

from tests.model.test_execution import execution
from whd.model.execution import to_json
from whd.model.library import Module, has_modules, hash_with, script_with, split_script

MAIL = Module("acme", "mail", "x = 'é'\n", "1" * 64, "flows/acme/lib/mail.py")
TEXT = Module("acme", "text", "y = 1\n", "2" * 64, "flows/acme/lib/text.py")


def test_a_script_without_modules_is_its_source() -> None:
    assert script_with("source", ()) == "source"
    assert hash_with("h", ()) == "h"
    assert split_script("source") == ("source", {})


def test_a_script_with_modules_gives_them_back() -> None:
    script = script_with("source", (MAIL, TEXT))
    assert has_modules(script)
    source, modules = split_script(script)
    assert source == "source"
    assert modules == {
        "mail": {"hash": MAIL.script_hash, "script": MAIL.source},
        "text": {"hash": TEXT.script_hash, "script": TEXT.source},
    }


def test_the_hash_covers_names_and_texts() -> None:
    other = Module("acme", "mail", "", "3" * 64, "")
    renamed = Module("acme", "post", MAIL.source, MAIL.script_hash, "")
    hashes = {hash_with("h", some) for some in [(), (MAIL,), (MAIL, TEXT), (other,), (renamed,)]} | {
        hash_with("i", (MAIL,))
    }
    assert len(hashes) == 6


@pytest.mark.parametrize("script", ["\x1e", "\x1e{}", "\x1e[1]", "\x1enot json"])
def test_a_source_that_looks_like_it_is_a_source(script: str) -> None:
    assert split_script(script) == (script, {})
    assert json.loads(to_json(execution(), script))["script"] == script


def test_a_record_shows_the_hashes_and_with_the_script_the_texts() -> None:
    script = script_with("source", (MAIL,))
    shown = json.loads(to_json(execution(), script))
    assert (shown["script"], shown["modules"]) == ("source", {"mail": {"hash": "1" * 64, "script": "x = 'é'\n"}})
    hidden = json.loads(to_json(execution(show_script=False), script))
    assert "script" not in hidden
    assert hidden["modules"] == {"mail": {"hash": "1" * 64}}
    assert "modules" not in json.loads(to_json(execution(), "source"))
