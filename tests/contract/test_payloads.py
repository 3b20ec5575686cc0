"""CONTRACT 3, Payload, against a running daemon: what senders send, as flow, answer, record and commands have it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.outside import serve_outside
from tests.contract.test_webhooks import INPUT_FLOW, live, problem
from tests.running import KEY, ROOT, Project, RunningDaemon, running, simple_project

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    with serve_outside() as url:
        yield url


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, outside: str) -> Project:
    project = simple_project(tmp_path_factory.mktemp("payloads"))
    every = {"read": ["app.*"], "write": ["app.*"]}
    rights = {"flows": ["*"], "settings": every, "connections": {"REST": [f"{outside}/*"]}}
    project.users("acme", {"kevin": rights})
    return project


@pytest.fixture(scope="module")
def daemon(project: Project) -> Iterator[RunningDaemon]:
    with running(project) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def open_hook(project: Project, daemon: RunningDaemon) -> str:
    return live(daemon, project.endpoint("open", INPUT_FLOW))


@pytest.fixture(scope="module")
def keyed(project: Project, daemon: RunningDaemon) -> str:
    path = project.endpoint("keyed", INPUT_FLOW, key=KEY)
    return live(daemon, path, headers={"X-Webhook-Key": KEY})


def send(daemon: RunningDaemon, path: str, body: bytes, content_type: str = "", **headers: str) -> Any:
    """The flow's input_value."""
    fields = {"Content-Type": content_type} if content_type else {}
    answer = daemon.post(path, body, headers=fields | {name.replace("_", "-"): text for name, text in headers.items()})
    assert answer.status == 200, answer.body
    assert answer.json["input_value"] == answer.json["output_value"]
    return answer.json["input_value"]


# ---- what a body is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [FORM, "", "application/json"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"key": "k", "n": 1,}', "line 1 column"),
        (b'{"text": "two\nlines"}', "line 1 column 14"),
        (b'{"a": 1,\n "b": ', "line 2 column 7"),
        (b'{"a": [1,\n NaN]}', "line 2 column 2"),
    ],
)
def test_json_with_a_mistake_is_400_with_line_and_column_whatever_the_key(
    daemon: RunningDaemon, open_hook: str, keyed: str, body: bytes, words: str, content_type: str
) -> None:
    for path in (open_hook, keyed):
        answer = daemon.post(path, body, headers={"Content-Type": content_type} if content_type else {})
        assert words in problem(answer, 400, "bad_payload")["detail"]


def test_a_wrong_key_in_the_head_comes_before_the_body(daemon: RunningDaemon, keyed: str) -> None:
    problem(daemon.post(keyed + "?key=wrong", b'{"a":,}'), 401, "invalid_key")


def test_a_large_one_is_400_where_its_fault_is(daemon: RunningDaemon, open_hook: str) -> None:
    body = b'{"a": [\n' + b"1,\n" * 300_000 + b"NaN]}"
    answer = daemon.post(open_hook, body, headers={"Content-Type": FORM})
    assert "line 300002 column 1" in problem(answer, 400, "bad_payload")["detail"]
    assert send(daemon, open_hook, body, "text/csv")["data"] == body.decode()


@pytest.mark.parametrize("body", [b"[NaN,1]", b"[1e999] x", b"[" * 1000, b'{"a": 1', b"[INFO] started"])
def test_under_another_type_it_is_data(daemon: RunningDaemon, open_hook: str, body: bytes) -> None:
    for content_type in ("text/plain", "text/csv", "application/octet-stream"):
        given = send(daemon, open_hook, body, content_type)
        assert (given["json"], given["data"]) == (None, body.decode())


def test_without_a_type_or_as_a_form_a_bracket_means_nothing(daemon: RunningDaemon, open_hook: str) -> None:
    assert send(daemon, open_hook, b"[INFO] started")["data"] == "[INFO] started"
    assert send(daemon, open_hook, b"[0]=a", FORM)["json"] == {"[0]": "a"}


# ---- charsets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "name"),
    [
        (b"first_name=Jos%E9", f"{FORM}; charset=windows-1252", "José"),
        (b"first_name=Jos%E9", f"{FORM}, charset=ISO-8859-1", "José"),
        (b"first_name=Jos\xe9&charset=windows-1252", FORM, "José"),
        (b"_charset_=shift_jis&first_name=%83e%83X%83g", FORM, "テスト"),
        (b"first_name=Jos%C3%A9", f"{FORM}, charset=utf-8", "José"),
        (b"first_name=Jos%C3%A9", f"{FORM}; charset=rot13", "José"),
        (b"\xef\xbb\xbffirst_name=Jos%C3%A9", FORM, "José"),
    ],
)
def test_a_form_is_read_in_its_charset(
    daemon: RunningDaemon, open_hook: str, body: bytes, content_type: str, name: str
) -> None:
    assert send(daemon, open_hook, body, content_type)["json"]["first_name"] == name


def test_a_form_in_an_unknown_charset_is_data_and_its_key_works(
    daemon: RunningDaemon, open_hook: str, keyed: str
) -> None:
    given = send(daemon, open_hook, b"first_name=Jos%E9", FORM)
    assert (given["json"], given["data"]) == (None, "first_name=Jos%E9")
    given = send(daemon, open_hook, b"first_name=Jos\xe9", FORM)
    assert (given["json"], base64.b64decode(given["data"])) == (None, b"first_name=Jos\xe9")
    assert send(daemon, keyed, f"name=Jos%E9&key={KEY}".encode(), FORM)["data"] == "name=Jos%E9"
    problem(daemon.post(keyed, b"name=Jos%E9&key=wrong", headers={"Content-Type": FORM}), 401, "invalid_key")


def test_a_query_is_read_in_its_charset_and_nothing_of_it_is_lost(
    daemon: RunningDaemon, open_hook: str, keyed: str
) -> None:
    assert send(daemon, open_hook + "?name=Jos%E9&charset=windows-1252", b"")["query"]["name"] == "José"
    assert send(daemon, open_hook + "?name=Jos%E9", b"")["query"] == {"name": "Jos%E9"}
    assert send(daemon, f"{keyed}?name=Jos%E9&key={KEY}", b"")["query"] == {"name": "Jos%E9"}


# ---- content encodings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["UTF-8", "none", "binary", "8bit", "identity", "iso-8859-1"])
def test_a_content_encoding_that_is_no_compression(daemon: RunningDaemon, open_hook: str, coding: str) -> None:
    assert send(daemon, open_hook, b'{"a":1}', "application/json", Content_Encoding=coding)["json"] == {"a": 1}


def test_empty_bodies_and_padding(daemon: RunningDaemon, open_hook: str) -> None:
    for body, encoding in ((b"", "gzip"), (b" \r\n", "identity"), (gzip.compress(b""), "gzip")):
        given = send(daemon, open_hook, body, "application/json", Content_Encoding=encoding)
        assert (given["json"], "data" in given) == (None, False)
    padded = gzip.compress(b'{"a":1}') + bytes(512)
    assert send(daemon, open_hook, padded, "application/json", Content_Encoding="gzip")["json"] == {"a": 1}


# ---- in and out unchanged --------------------------------------------------------------------------------------------

WRAPPING_FLOW = """
import flow_api
def handler(system, this, inputs):
    payload = inputs['json']
    this.log(payload, payload=payload)
    print(payload)
    this.save(output_value={'early': payload})
    system.setting('app.last').save(value={'payload': payload})
    system.setting('app.all').save(value=[])
    system.setting('app.all').list_append(payload)
    child = this.flow('child', payload=payload)
    called = this.task('REST', url=inputs['query']['url'], method='post', json={'payload': payload})
    this.set_output('input', inputs)
    this.set_output('setting', system.setting('app.last').get('value'))
    this.set_output('list', system.setting('app.all').get('value'))
    this.set_output('child', child.get('input_value', 'output_value'))
    this.set_output('called', called.get('output_value'))
"""
CHILD_FLOW = """
def handler(system, this, inputs):
    this.set_output('mine', inputs['payload'])
"""
JSON_FLOW = """
def handler(system, this, inputs):
    this.webhook_json_response({'again': inputs['json']})
"""


def deepest(inner: str) -> str:
    """A payload that nests as deep as any may."""
    return '{"a":[' * 100 + inner + "]}" * 100


def command(project: Project, *arguments: str) -> str:
    """What a command prints."""
    folders = (f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state"))
    done = subprocess.run(
        [sys.executable, "-m", "whd", *arguments, *folders],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("utf-8")


@pytest.mark.parametrize("size", [0, 300_000])
@pytest.mark.parametrize(
    "payload",
    [
        deepest("1"),
        deepest('"\\ud800"'),
        '{"half \\udfff":"x\\ud83d\\ud83d","numbers":[9007199254740993,12345678901234567890123],"e":"\\u00e9\\u0000"}',
    ],
    ids=["deep", "deep and half a pair", "half pairs, large numbers and escapes"],
)
def test_what_is_let_in_comes_out_of_everything_that_may_hold_it(
    project: Project, daemon: RunningDaemon, outside: str, payload: str, size: int
) -> None:
    project.flow("acme", "child", CHILD_FLOW)
    path = live(daemon, project.endpoint("wrapping", WRAPPING_FLOW))
    text = payload if not size else payload[:-1] + f',"pad":{json.dumps("x" * size)}' + "}"
    value = json.loads(text)
    answer = daemon.post(f"{path}?url={outside}/echo", text.encode(), headers={"Content-Type": "application/json"})
    record = answer.json
    assert (answer.status, record["message"]) == (200, "")
    assert text.encode() in answer.body
    output = record["output_value"]
    assert output["input"]["json"] == value
    assert output["setting"] == {"payload": value}
    assert output["list"] == [value]
    assert output["child"] == [{"payload": value}, {"mine": value}]
    assert json.loads(output["called"]["json"]["body"]) == {"payload": value}

    # The record, as it is kept, shown, logged and run again.
    assert daemon.get(f"/api/execution/acme/{record['id']}").json["output_value"] == output
    assert json.loads(command(project, "executions", "show", record["id"]))["output_value"] == output
    lines = json.loads(command(project, "executions", "logs", record["id"], "--json"))
    assert lines[0]["args"] == [value]
    assert lines[0]["fields"] == {"payload": value}
    command(project, "executions", "logs", record["id"])
    command(project, "settings", "show", "app.last")
    again = json.loads(command(project, "executions", "replay", record["id"], "--json"))
    if not size:
        given = json.dumps({"payload": value})
        ran = json.loads(command(project, "run", "acme", "child", "--user", "kevin", "--input", given, "--json"))
        assert ran["output_value"] == {"mine": value}
    ended = daemon.wait_ended("acme", again["id"])
    assert ended["input_value"] == record["input_value"]


def test_an_answer_of_the_flows_own_has_room_too(project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, project.endpoint("own-json", JSON_FLOW))
    text = deepest('"\\ud800"')
    answer = daemon.post(path, text.encode())
    assert (answer.status, answer.json) == (200, {"again": json.loads(text)})
    assert b"\\ud800" in answer.body


TOO_DEEP = {
    "output": ("this.set_output('deep', value)", "output_value['deep'][0][0]"),
    "child": ("this.flow('child', payload=value)", "this.flow: inputs['payload'][0][0]"),
    "saved": ("system.setting('app.deep').save(value=[value])", "the value is not JSON as a setting holds it"),
    "answer": ("this.webhook_json_response([value])", "webhook_response: body[0][0]"),
    "task": (
        "this.task('REST', url='http://127.0.0.1:1/', json=[[[[[[[value]]]]]]])",
        "this.task: inputs['json'][0][0]",
    ),
    "save": ("this.save(output_value={'a': [[[[[[[value]]]]]]]})", "this.save: output_value['a'][0][0]"),
    "both": (
        "this.set_output('a', value)\n    this.error('mine')",
        "mine\nthe output is not JSON: output_value['a'][0]",
    ),
}


@pytest.mark.parametrize("name", TOO_DEEP)
def test_what_is_too_deep_is_named_by_its_path_in_the_flow(project: Project, daemon: RunningDaemon, name: str) -> None:
    statement, words = TOO_DEEP[name]
    lines = ("def handler(system, this):", "value = 1", "for _ in range(400):", "    value = [value]", statement)
    answer = daemon.post(live(daemon, project.endpoint(f"deep-{name}", "\n    ".join(lines) + "\n")), {})
    message = answer.json["message"]
    assert (answer.status, answer.json["status"]) == (500, "ENDED_ERROR")
    assert words in message
    assert "nested more than 40" in message


@pytest.mark.parametrize("size", [10, 15_000, 16_400, 3_000_000])
def test_curl_sends_a_multipart_form(daemon: RunningDaemon, keyed: str, tmp_path: Path, size: int) -> None:
    """Small ones are read in the daemon, from 16 KiB on elsewhere; the text field `key` opens and is gone."""
    text = "ü\r\n--" + "x" * size
    (tmp_path / "upload.txt").write_bytes(text.encode())
    (tmp_path / "raw.bin").write_bytes(b"\xff\x00\r\n")
    form = ["-F", f"key={KEY}", "-F", "a=1", "-F", "a=2", "-F", f"doc=@{tmp_path}/upload.txt"]
    form += ["-F", f'raw=@{tmp_path}/raw.bin;filename=q"q.bin']
    url = f"http://127.0.0.1:{daemon.port}{keyed}"
    got = subprocess.run(["curl", "-s", *form, url], capture_output=True, check=True, timeout=30)
    assert KEY.encode() not in got.stdout
    given = json.loads(got.stdout)["input_value"]
    assert given["json"] == {"a": ["1", "2"]}
    assert given["files"]["doc"] == {
        "filename": "upload.txt",
        "content_type": "text/plain",
        "size": len(text.encode()),
        "data": text,
    }
    assert given["files"]["raw"]["filename"] == 'q"q.bin'
    assert base64.b64decode(given["files"]["raw"]["data"]) == b"\xff\x00\r\n"


@pytest.mark.parametrize("size", [10, 20_000])
def test_a_multipart_form_with_another_key_is_refused(daemon: RunningDaemon, keyed: str, size: int) -> None:
    part = b'--B\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    body = part % (b"a", b"x" * size) + part % (b"key", b"wrong") + b"--B--\r\n"
    answer = daemon.post(keyed, body, headers={"Content-Type": "multipart/form-data; boundary=B"})
    problem(answer, 401, "invalid_key")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_webhook_takes_the_methods_that_it_names(
    daemon: RunningDaemon, project: Project, open_hook: str, method: str
) -> None:
    path = live(daemon, project.endpoint(f"by-{method.lower()}", INPUT_FLOW, methods=[method]))
    answer = daemon.request(method, path, b'{"a": 1}', {"Content-Type": "application/json"})
    assert answer.json["input_value"]["method"] == method
    assert answer.json["input_value"]["json"] == {"a": 1}
    refused = daemon.request("POST", path, b"{}")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == f"{method}, HEAD"
    problem(daemon.request(method, open_hook, b"{}"), 405, "method_not_allowed")
