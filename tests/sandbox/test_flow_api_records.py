"""system.setting, file, flow and their lists as calls to the daemon (FLOW_API.md): canned answers stand for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .far_side import Content, Ended
from .test_flow_api import flow

CALLS: list[tuple[str, str, list[tuple[str, Any]]]] = [
    ("setting save", "system.setting('s').save(value=[1])", [("setting.save", {"name": "s", "value": [1]})]),
    ("setting save at once", "system.setting('s', value=None)", [("setting.save", {"name": "s", "value": None})]),
    ("setting by keyword", "system.setting(name='s', value=2)", [("setting.save", {"name": "s", "value": 2})]),
    ("file by keyword", "system.file(name='f', content='')", [("file.save", {"name": "f", "content": ""})]),
    ("flow by keyword", "system.flow(name='x').exists()", [("flow.exists", {"name": "x"})]),
    (
        "setting list_append by keyword",
        "system.setting('s').list_append(item=1)",
        [("setting.list_append", {"name": "s", "item": 1})],
    ),
    ("sleep by keyword", "this.sleep(seconds=2)", [("sleep", {"seconds": 2.0})]),
    ("sleep_until by keyword", "this.sleep_until(time=7)", [("sleep", {"until": 7.0})]),
    ("setting save of dates", "system.setting('s').save(value={2})", [("setting.save", {"name": "s", "value": [2]})]),
    ("setting delete", "system.setting('s').delete()", [("setting.delete", {"name": "s"})]),
    (
        "setting list_append",
        "system.setting('s').list_append({'n': 1})",
        [("setting.list_append", {"name": "s", "item": {"n": 1}})],
    ),
    ("acquire", "system.setting('s').acquire()", [("setting.acquire", {"name": "s", "timeout": None})]),
    (
        "acquire for ever",
        "system.setting('s').acquire(timeout=None)",
        [("setting.acquire", {"name": "s", "timeout": None})],
    ),
    ("acquire at once", "system.setting('s').acquire(timeout=0)", [("setting.acquire", {"name": "s", "timeout": 0.0})]),
    ("acquire with text", "system.setting('s').acquire('5')", [("setting.acquire", {"name": "s", "timeout": 5.0})]),
    ("release", "system.setting('s').release()", [("setting.release", {"name": "s"})]),
    ("a record alone", "system.setting('s').get('name')\nsystem.file('f')\nsystem.flow('x').get('name')", []),
    ("file save", "system.file('a/b.txt').save(content='ü')", [("file.save", {"name": "a/b.txt", "content": "ü"})]),
    ("file save at once", "system.file('f', content='')", [("file.save", {"name": "f", "content": ""})]),
    (
        "file save of bytes",
        "system.file('f').save(content=b'\\xff\\x00')",
        [("file.save", {"name": "f", "content": b"\xff\x00"})],
    ),
    ("file delete", "system.file('f').delete()", [("file.delete", {"name": "f"})]),
    ("flow exists", "system.flow('x').exists()", [("flow.exists", {"name": "x"})]),
    ("files by folder", "system.files(dir='reports')", [("file.list", {"dir": "reports"})]),
    ("files by glob", "system.files(glob='*.csv')", [("file.list", {"glob": "*.csv"})]),
    ("files by both", "system.files(dir='a', glob='*')", [("file.list", {"dir": "a", "glob": "*"})]),
    ("all files", "system.files()", [("file.list", {})]),
    (
        "files by a filter",
        "system.files(filter={'field': 'name', 'op': 'like', 'value': 'reports/%'})",
        [("file.list", {"like": "reports/%"})],
    ),
    (
        "files by an exact filter",
        "system.files(filter={'field': 'name', 'op': 'eq', 'value': 'f'})",
        [("file.list", {"eq": "f"})],
    ),
    ("settings", "system.settings()", [("setting.list", {})]),
    ("flows", "system.flows()", [("flow.list", {})]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "calls"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_what_is_asked_of_the_daemon(run_flow: Callable[..., Ended], body: str, calls: list[tuple[str, Any]]) -> None:
    lists: dict[str, list[Any]] = {"file.list": [], "setting.list": [], "flow.list": []}
    ended = run_flow(flow(body), answers=lists)
    assert ended.status == "ENDED_SUCCESS", ended.message
    assert ended.calls == calls


def test_what_the_daemon_answers(run_flow: Callable[..., Ended]) -> None:
    body = """
    this.set_output(
        text=system.file('f').get('content'),
        both=system.file('f').load('name', 'content'),
        setting=system.setting('s').save(value=1).acquire().get(),
        settings=[s.get('name') for s in system.settings()],
        some=[s.get('name') for s in system.settings(filter={'field': 'name', 'op': 'like', 'value': 'app.%'})],
        one=[s.get('name') for s in system.flows(filter={'field': 'name', 'op': 'eq', 'value': 'child'})],
        flows=[f.get('name') for f in system.flows()],
        files=[f.get('name') for f in system.files()],
        exists=[system.flow('x').exists(), system.file('f').exists()],
    )
    """
    answers = {
        "file.get": Content(b"text", is_text=True),
        "setting.get": {"a": 1},
        "setting.list": ["app.a", "appxb", "other"],
        "flow.list": ["child", "other"],
        "file.list": ["a/b"],
        "flow.exists": True,
        "file.exists": False,
    }
    assert run_flow(flow(body), answers=answers).output == {
        "text": "text",
        "both": ["f", "text"],
        "setting": {"a": 1},
        "settings": ["app.a", "appxb", "other"],
        "some": ["app.a"],
        "one": ["child"],
        "flows": ["child", "other"],
        "files": ["a/b"],
        "exists": [True, False],
    }


def test_a_file_that_was_to_be_text_and_is_not_comes_as_it_is(run_flow: Callable[..., Ended]) -> None:
    body = "this.set_output('it', list(system.file('f').get('content')))"
    ended = run_flow(flow(body), answers={"file.get": Content(b"\xff\x00", is_text=True)})
    assert ended.output == {"it": [255, 0]}


def test_an_empty_file_is_empty_text(run_flow: Callable[..., Ended]) -> None:
    body = "this.set_output('it', system.file('f').get('content'))"
    assert run_flow(flow(body), answers={"file.get": Content(b"", is_text=True)}).output == {"it": ""}


def test_a_file_that_is_no_text_comes_as_bytes(run_flow: Callable[..., Ended]) -> None:
    body = (
        "content = system.file('f').get('content')\nthis.set_output('it', [isinstance(content, bytes), list(content)])"
    )
    ended = run_flow(flow(body), answers={"file.get": Content(b"\xff\x00", is_text=False)})
    assert ended.output == {"it": [True, [255, 0]]}


WRONG = [
    ("system.setting(7)", "system.setting: a setting's name must be text, not 7"),
    ("system.setting(value=1)", "MissingInputError: system.setting needs a name: system.setting('name')"),
    ("system.file()", "MissingInputError: system.file needs a name: system.file('name')"),
    ("system.setting('s').save()", "MissingInputError: setting.save needs value="),
    ("system.setting('s').save(content=1)", "setting.save: there is no field 'content'; it takes value="),
    ("system.setting('s').save(value=object())", "setting.save: value is an object, which has no"),
    ("system.setting('s', valeu=1)", "setting.save: there is no field 'valeu'; it takes value="),
    ("system.setting('s').acquire(timeout='long')", "setting.acquire: timeout must be a number, not 'long'"),
    ("system.setting('s').acquire(timeout=-1)", "setting.acquire: timeout must be 0 or more, not -1.0"),
    ("system.setting('s').get('content')", "a setting has no field 'content'; it has: name, value"),
    ("system.file('f').get('value')", "a file has no field 'value'; it has: name, content"),
    ("system.file('f').save(content={})", "file.save: content must be text or bytes, not a dict; json.dumps"),
    ("system.file('f').save(content=None)", "file.save: content must be text or bytes, not None"),
    ("system.file('f').save(content='x' * 1_100_000)", "1100000 bytes are too many at once; max_output_bytes"),
    ("system.file('f').save(content=chr(0xd800))", "InvalidInputError: file.save: content holds half of a surrogate"),
    ("this.flow('x', a='x' * 1_100_000)", "this.flow: 1100008 bytes are too many at once; max_output_bytes allows"),
    ("system.setting('s').save(value='x' * 1_100_000)", "setting.save: 1100023 bytes are too many for one request"),
    ("system.flow('x').get('script')", "a flow has no field 'script'; it has: name"),
    ("system.flow(None)", "system.flow: a flow's name must be text, not None"),
    ("system.files(dir=1)", "system.files: dir must be text, not 1"),
    ("system.files(dir='/a')", "system.files: '/a' cannot be a folder; give its path, such as 'reports/2026'"),
    ("system.files('a/../b')", "system.files: 'a/../b' cannot be a folder"),
    ("system.files('a//b')", "system.files: 'a//b' cannot be a folder"),
    ("system.files(glob=b'x')", "system.files: glob must be text, not a bytes"),
    ("system.files(filter={'field': 'size', 'op': 'eq', 'value': 'x'})", "system.files: filter must be {'field':"),
    ("system.files(filter={'field': 'name', 'op': 'gt', 'value': 'x'})", "'op': 'like' or 'eq', 'value': 'reports/%'}"),
    ("system.files(filter={'field': 'name', 'op': 'eq', 'value': 5})", "system.files: filter must be"),
    ("system.files(filter={'field': 'name', 'op': 'eq'})", "system.files: filter must be"),
    ("system.files(filter={7: 8})", "'value': 'reports/%'}, not {7: 8}"),
    ("system.files(filter={'field': [this]})", "'value': 'reports/%'}, not {'field': a list}"),
    ("system.settings(filter='x')", "system.settings: filter must be {'field': 'name', 'op': 'like' or 'eq'"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "words"), WRONG, ids=[case[0][:50] for case in WRONG])
def test_a_wrong_argument_says_what_is_right(run_flow: Callable[..., Ended], body: str, words: str) -> None:
    ended = run_flow(flow(body))
    assert ended.status == "ENDED_ERROR"
    assert words in ended.message
    assert not ended.calls


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a/.", "a\\0b", "/"])
def test_a_files_name_is_a_full_relative_path(run_flow: Callable[..., Ended], name: str) -> None:
    ended = run_flow(flow(f"system.file('{name}')"))
    assert "flow_api.InvalidInputError: system.file: " in ended.message


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("system.setting('s').save(value=1)", "setting.save"),
        ("system.setting('s').delete()", "setting.delete"),
        ("system.setting('s').list_append(1)", "setting.list_append"),
        ("system.setting('s').acquire(timeout=1)", "setting.acquire"),
        ("system.setting('s').release()", "setting.release"),
        ("system.file('s').get('content')", "file.get"),
        ("system.file('s').save(content='')", "file.save"),
        ("system.file('s').delete()", "file.delete"),
        ("system.files()", "file.list"),
        ("system.settings()", "setting.list"),
        ("system.flow('s').exists()", "flow.exists"),
    ],
)
@pytest.mark.parametrize("kind", ["PermissionDenied", "ResourceNotFoundError", "TimeoutExceededError"])
def test_the_daemons_errors_become_those_of_flow_api(
    run_flow: Callable[..., Ended], body: str, call: str, kind: str
) -> None:
    ended = run_flow(flow(body), answers={call: (kind, "the daemon's words")})
    assert ended.message.splitlines()[-1] == f"flow_api.{kind}: the daemon's words"
    assert [name for name, _arguments in ended.calls] == [call]


def test_a_text_that_lies_is_taken_by_its_data(run_flow: Callable[..., Ended]) -> None:
    body = """
    class Lie(str):
        def __str__(self): return 'other'
        def __eq__(self, other): return True
        def __hash__(self): return 1
    system.setting(Lie('s')).exists()
    system.file(Lie('f')).save(content=Lie('c'))
    """
    assert run_flow(flow(body)).calls == [
        ("setting.exists", {"name": "s"}),
        ("file.save", {"name": "f", "content": "c"}),
    ]
