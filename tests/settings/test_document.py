"""YAML text into JSON values: the safe loader's rules, lines, and nothing that a file can do to the daemon."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from whd.settings import document
from whd.settings.document import load


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs with both scanners: a host's PyYAML may have been built without libyaml."""
    name: str = request.param
    if name == "libyaml" and not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(document, "_Loader", yaml.CSafeLoader if name == "libyaml" else yaml.SafeLoader)
    return name


def value_of(text: bytes | str) -> object:
    node, faults = load(text, "a.yaml")
    assert node is not None, faults
    json.dumps(node.value, allow_nan=False)
    return node.value


def fault_of(text: bytes | str) -> str:
    node, faults = load(text, "a.yaml")
    assert node is None
    assert faults
    return str(faults[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing but a comment\n", None),
        ("a: 1\nb: [x, 2.5, true, ~]\nc: {d: e}\n", {"a": 1, "b": ["x", 2.5, True, None], "c": {"d": "e"}}),
        ("a: yes\nb: off\n", {"a": True, "b": False}),
        ("a: 26_214_400\nb: 0x1f\nc: 010\nd: 1:30\n", {"a": 26214400, "b": 31, "c": 8, "d": 90}),
        ("a: '1234'\n", {"a": "1234"}),
        ("a: =\n", {"a": "="}),
        ("\ufeffa: 1\n".encode(), {"a": 1}),
        ("- &x {a: 1}\n- *x\n", [{"a": 1}, {"a": 1}]),
        ("base: &b {a: 1, b: 1}\nuse: {<<: *b, b: 2}\n", {"base": {"a": 1, "b": 1}, "use": {"a": 1, "b": 2}}),
        ("<<: [{a: 1}, {a: 2, b: 2}]\nc: 3\n", {"a": 1, "b": 2, "c": 3}),
        ("'<<': 1\n", {"<<": 1}),
        ("- <<\n", ["<<"]),
        ("!!str 12\n", "12"),
        ("! 12\n", 12),
    ],
)
def test_values_are_those_of_the_safe_loader(text: bytes | str, value: object) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2026-11-23\n", {"a": "2026-11-23"}),
        ("a: 2026-11-23T07:18:00Z\n", {"a": "2026-11-23T07:18:00+00:00"}),
        ("!!set {a, b}\n", ["a", "b"]),
        ("!!omap [a: 1, b: 2]\n", [["a", 1], ["b", 2]]),
        ("!!binary aGVs\n", "aGVs"),
    ],
)
def test_what_json_does_not_have_takes_its_usual_json_form(text: str, value: object) -> None:
    assert value_of(text) == value


def test_a_mapping_s_key_is_the_text_that_stands_there() -> None:
    """`404:` is a number and `on:` a boolean to YAML 1.1, and nobody who writes them means that."""
    assert value_of("404: a\non: b\n1.50: c\n2026-11-23: d\n~: e\n") == {
        "404": "a", "on": "b", "1.50": "c", "2026-11-23": "d", "~": "e",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' stands here again; expected it once; it is in line 1"),
        ("1: a\n'1': b\n", 2, "the key stands here again"),
        ("a: {b: 1,\n  b: 2}\n", 2, "'b' stands here again"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: *nothing\n", 1, "alias without its anchor"),
        ("a: [*]\n", 1, 'as in "*"'),
        ("a: &x [*x]\n", 1, "alias inside of what it names"),
        ("a: !!python/object:os.system x\n", 1, "a tag that is not known"),
        ("\n\na: !mine [1]\n", 3, "a tag that is not known"),
        ("a: !!int x\n", 1, "looks like a whole number"),
        ("a: 2026-13-45\n", 1, "looks like a date"),
        ("a: .nan\n", 1, "NaN"),
        ("a: -.inf\n", 1, "infinite"),
        ("a: 1.0e+999\n", 1, "infinite"),
        ("a: " + "9" * 5000, 1, "too long"),
        ("[a]: b\n", 1, "a list or a mapping"),
        ("? {a: b}\n: c\n", 1, "a list or a mapping"),
        ("? \n: b\n", 1, "key is empty"),
        ("<<: 1\n", 1, "merges something else"),
        ("a:\n\tb: 1\n", 2, "spaces instead of tabs"),
        ("a: b: c\n", 1, "quotes around a text that holds a colon"),
        ("a: 1\nb\n", 3, "a name, a colon, a space"),
        (b"a: 1\nb: \xff\n", 2, "not valid UTF-8"),
        (b"a: 1\nb: \x00\n", 2, "control character U+0000"),
        ("a: [1, 2\n", 2, "not YAML"),
        ('a: "\\UFFFFFFFF"\n', 1, "not YAML"),
    ],
)
def test_a_fault_says_where_and_what_and_what_should_be_there(
    loader: str, text: bytes | str, line: int, part: str
) -> None:
    fault = fault_of(text)
    assert part in fault
    if loader == "libyaml" or "escape" not in fault:
        # The scanner in Python does not say where an escape names no character.
        assert fault.startswith(f"a.yaml:{line}:")


def test_lines_of_fields_are_known() -> None:
    node, _ = load("a: 1\n\nb:\n  - x\n  - y\n", "a.yaml")
    assert node is not None
    assert node.items["b"][0] == 3
    assert [item.line for item in node.items["b"][1].items] == [4, 5]


def test_half_of_a_surrogate_pair_is_no_text() -> None:
    assert load('a: "\\ud800"\n', "a.yaml")[0] is None


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "a: &a {k: [x,x,x,x,x,x,x,x,x]}\n"
        + "".join(
            f"{b}: &{b} {{{', '.join(f'k{i}: *{a}' for i in range(9))}}}\n"
            for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 1000 + "]\n",
        "a: &a {" + ", ".join(f"k{i}: v" for i in range(2000)) + "}\nb:\n" + "  - {<<: *a}\n" * 2000,
    ],
    ids=["lists", "mappings", "long text", "merges"],
)
def test_aliases_cannot_stand_for_more_than_a_bounded_size(bomb: str) -> None:
    started = time.thread_time()  # of this thread alone: what else the machine does is not counted
    assert "expands to more than" in fault_of(bomb)
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_no_nesting_exhausts_the_stack(opening: str) -> None:
    assert "nests deeper than 100" in fault_of(opening * 50_000)


def test_no_fault_repeats_what_may_be_a_key() -> None:
    for text in (
        "key: *my-secret\n",
        "key: !my-secret x\n",
        "key: !my!secret x\n",
        "key: {my-secret: 1, my-secret: 2}\n",
        'key: "my\\secret"\n',
        "key: @my-secret\n",
        "key: [my-secret, %\n",
        "key: my: secret\n",
        "key: !!int my-secret\n",
        "key: {my-secret: .nan}\n",
    ):
        node, faults = load(text, "a.yaml", shown_names=("key",))
        assert node is None
        for fault in faults:
            assert "secret" not in str(fault)
            assert "my" not in str(fault)
