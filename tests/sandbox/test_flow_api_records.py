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
    ("setting by select", "system.setting(select='s', value=2)", [("setting.save", {"name": "s", "value": 2})]),
    (
        "setting in order",
        "system.setting('s', {'value': 2}, True)",
        [("setting.save", {"name": "s", "value": 2})],
    ),
    (
        "setting init and keywords",
        "system.setting('s', init={'value': 1}, value=2)",
        [("setting.save", {"name": "s", "value": 2})],
    ),
    ("setting that is not saved", "system.setting('s', value=2, save=False).get()", []),
    (
        "setting that is saved later",
        "system.setting('s', init={'value': 2}, save=False).save()",
        [("setting.save", {"name": "s", "value": 2})],
    ),
    (
        "setting set, then saved once",
        "s = system.setting('s').set(value=1).set('value', 2)\ns.save()\ns.get('name', 'id')",
        [("setting.save", {"name": "s", "value": 2})],
    ),
    (
        "a name that stays",
        "system.setting('s', name='s', value=1).save(name='s', value=2)",
        [("setting.save", {"name": "s", "value": 1}), ("setting.save", {"name": "s", "value": 2})],
    ),
    ("delete forgets", "system.setting('s').set(value=1).delete()", [("setting.delete", {"name": "s"})]),
    (
        "setting clone",
        "system.setting('s').set(value=1).clone(name='t')\nsystem.setting('s').clone('u', value=2)",
        [("setting.save", {"name": "t", "value": 1}), ("setting.save", {"name": "u", "value": 2})],
    ),
    ("setting clone that is not saved", "system.setting('s').clone('t', value=2, save=False).get()", []),
    (
        "file clone",
        "system.file('f').clone('a/g', content='x')",
        [("file.save", {"name": "a/g", "content": "x"})],
    ),
    ("file text", "system.file('f').save(text='x')", [("file.save", {"name": "f", "content": "x"})]),
    ("file text at once", "system.file('f', text='')", [("file.save", {"name": "f", "content": ""})]),
    (
        "file base64 text",
        "system.file('f').save(content='w7w=\\n', convert_binary=False)",
        [("file.save", {"name": "f", "content": "ü"})],
    ),
    (
        "file base64 bytes",
        "system.file('f', content=b'/wA=', convert_binary=False)",
        [("file.save", {"name": "f", "content": b"\xff\x00"})],
    ),
    ("a flow by name", "system.flow('x', by='name').get('name', 'id')", []),
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


def test_what_was_set_is_got_and_loaded_only_when_it_is_saved(run_flow: Callable[..., Ended]) -> None:
    body = """
    mine = system.setting('s').set(value='set')
    seen = [mine.get('value'), mine.get(), mine.load('value'), mine.load(), mine.get('name', 'value')]
    mine.save()
    this.set_output('seen', [*seen, mine.get('value')])
    """
    ended = run_flow(flow(body), answers={"setting.get": "saved"})
    assert ended.output == {"seen": ["set", "set", "saved", "saved", ["s", "set"], "saved"]}


def test_update_is_for_what_is_there(run_flow: Callable[..., Ended]) -> None:
    body = "system.setting('s').update(value=1)\nsystem.file('f').update(text='x')"
    there = run_flow(flow(body), answers={"setting.exists": True, "file.exists": True})
    assert [name for name, _ in there.calls] == ["setting.exists", "setting.save", "file.exists", "file.save"]
    missing = run_flow(flow(body), answers={"setting.exists": False})
    assert "ResourceNotFoundError: there is no setting 's'; setting.save makes one" in missing.message


def test_a_clone_has_the_value_of_the_first(run_flow: Callable[..., Ended]) -> None:
    body = "copy = system.setting('s').clone(name='t')\nthis.set_output('name', copy.get('name'))"
    ended = run_flow(flow(body), answers={"setting.get": [1]})
    assert ended.output == {"name": "t"}
    assert ended.calls == [("setting.get", {"name": "s"}), ("setting.save", {"name": "t", "value": [1]})]


MISSING_SETTING = ("ResourceNotFoundError", "there is no setting 's'")


def test_a_setting_that_was_acquired_need_not_be_there(run_flow: Callable[..., Ended]) -> None:
    body = """
    system.setting('s').acquire()
    again = system.setting('s')
    seen = [again.get('value'), again.load(), again.get('name', 'value'), again.get('created_at')]
    again.release()
    this.set_output('seen', [*seen, again.get()])
    """
    ended = run_flow(flow(body), answers={"setting.get": MISSING_SETTING, "setting.times": MISSING_SETTING})
    assert ended.output == {"seen": [None, None, ["s", None], None, None]}


@pytest.mark.parametrize("body", ["pass", "system.setting('t').acquire()"])
def test_one_that_was_not_must_be(run_flow: Callable[..., Ended], body: str) -> None:
    ended = run_flow(flow(f"{body}\nsystem.setting('s').get()"), answers={"setting.get": MISSING_SETTING})
    assert "flow_api.ResourceNotFoundError: there is no setting 's'" in ended.message


def test_records_have_an_id_by_which_they_are_found(run_flow: Callable[..., Ended]) -> None:
    body = """
    ids = [system.setting('app.a').get('id'), system.flow('app.a').get('id'), system.file('app.a').get('id'),
           system.get_own_user().get('id'), system.get_own_client().get('id')]
    assert len(set(ids)) == 5 and all(len(one) == 36 for one in ids), ids
    assert system.setting(select='app.a').get('id') == ids[0]
    found = [system.setting(ids[0], by='id'), system.flow(ids[1], by='id'), system.file(ids[2], by='id')]
    this.set_output('names', [one.get('name') for one in found])
    system.flow(ids[0], by='id')
    """
    names = ["other", "app.a"]
    ended = run_flow(flow(body), answers={"setting.list": names, "flow.list": names, "file.list": names})
    assert ended.output == {"names": ["app.a", "app.a", "app.a"]}
    assert "flow_api.ResourceNotFoundError: there is no flow with the id" in ended.message


def test_records_know_when_they_came_to_be_and_were_changed(run_flow: Callable[..., Ended]) -> None:
    body = """
    seen = [one.get('created_at', 'modified_at') for one in
            (system.setting('s'), system.file('f'), system.flow('x'))]
    this.set_output('seen', seen)
    """
    times = {"created_at": "2026-01-01T00:00:00.000Z", "modified_at": "2026-01-02T00:00:00.000Z"}
    ended = run_flow(flow(body), answers=dict.fromkeys(("setting.times", "file.times", "flow.times"), times))
    assert ended.output == {"seen": [list(times.values())] * 3}
    assert [name for name, _ in ended.calls] == ["setting.times", "file.times", "flow.times"]


def test_a_files_content_is_given_as_base64_too(run_flow: Callable[..., Ended]) -> None:
    body = """
    text, data = system.file('f').get('content', convert_binary=False), system.file('f').load('name', 'content')
    this.set_output(both=system.file('f').get('path', 'content', convert_binary=False), text=text, data=list(data[1]))
    """
    ended = run_flow(flow(body), answers={"file.get": Content(b"\xff\x00", is_text=False)})
    assert ended.output == {"both": ["f", "/wA="], "text": "/wA=", "data": [255, 0]}


def test_the_statuses_are_a_list_of_constants(run_flow: Callable[..., Ended]) -> None:
    body = """
    child = this.flow('x', run=False)
    assert child.get('status') == system.status.PENDING and system.status.ENDED_ERROR == 'ENDED_ERROR'
    assert isinstance(system.status, flow_api.Status) and isinstance(system.setting('s'), flow_api.Setting)
    assert this.get('status') in (flow_api.Status.RUNNING,)
    """
    assert run_flow(flow(body)).status == "ENDED_SUCCESS"


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
    ("system.setting('s', name='t')", "setting.save: a name stays; use setting.clone(name=…), and then delete()"),
    ("system.setting('s').set(name='t')", "setting.set: a name stays; use setting.clone(name=…), and then delete()"),
    ("system.setting('s').set('value')", "setting.set needs a name and a value"),
    ("system.setting('s').set(content=1)", "setting.set: there is no field 'content'; it takes value="),
    ("system.setting('s', 5)", "system.setting: init must be a dict of fields, not 5"),
    ("system.setting('s', init={'valeu': 1})", "setting.save: there is no field 'valeu'; it takes value="),
    ("system.setting('s', value=1, save='yes')", "system.setting: save must be True or False, not 'yes'"),
    ("system.setting('s', by='value')", "system.setting: by must be 'name' or 'id', not 'value'"),
    ("system.setting('s').clone()", "setting.clone needs the copy's name: setting.clone(name='other')"),
    ("system.file('f').clone('/g', text='')", "system.file: '/g' cannot be a file's name"),
    ("system.setting('s').save(value=1, expires=5)", "setting.save: expires is not available in whd; it stays until"),
    ("system.setting('s', value=1, retention_time=5)", "setting.save: retention_time is not available in whd; it"),
    ("system.file('f').save(content='a', text='b')", "file.save takes content= or text=, not both"),
    ("system.file('f').save(text=b'b')", "file.save: text must be text, not a bytes"),
    ("system.file('f').save(content='ä', convert_binary=False)", "False content must be base64, not 'ä'"),
    ("system.file('f').save(content='abc', convert_binary=False)", "content must be base64, not 'abc'"),
    ("system.file('f').save(content=7, convert_binary=False)", "content must be base64, not 7"),
    ("system.file('f').get('content', convert_binary=0)", "file.get: convert_binary must be True or False, not 0"),
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
