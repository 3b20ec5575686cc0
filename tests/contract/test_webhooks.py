"""CONTRACT 3 against a running daemon: key, payload, input, sync, async, status, errors."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import quote

import pytest

from tests.running import KEY, Answer, Project, RunningDaemon, wait_for

INPUT_FLOW = """
def handler(system, this):
    this.set_output(this.get('input_value'))
"""

SLEEP_FLOW = """
def handler(system, this):
    this.log('sleeping')
    this.sleep(float(this.get('input_value')['query']['s']))
    return this.success('slept')
"""


def live(daemon: RunningDaemon, path: str, **kwargs: Any) -> str:
    """Waits until a webhook that was just written is there."""
    wait_for(lambda: daemon.request("HEAD", path, **kwargs).status not in (404, 503), path)
    return path


def read_answer(stream: BinaryIO) -> Answer:
    """The next answer of a connection on which several are on their way."""
    status = int(stream.readline().split()[1])
    fields = dict(http.client.parse_headers(stream).items())
    headers = {name.lower(): value for name, value in fields.items()}
    return Answer(status, headers, stream.read(int(headers["content-length"])))


def problem(answer: Answer, status: int, code: str) -> Any:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json
    assert document["code"] == code
    assert document["status"] == status
    assert document["title"]
    return document


@pytest.fixture(scope="module")
def keyed(shared_project: Project, daemon: RunningDaemon) -> str:
    path = shared_project.endpoint("keyed", INPUT_FLOW, key=KEY)
    return live(daemon, path, headers={"X-Webhook-Key": KEY})


@pytest.fixture(scope="module")
def open_hook(shared_project: Project, daemon: RunningDaemon) -> str:
    return live(daemon, shared_project.endpoint("open", INPUT_FLOW))


@pytest.fixture(scope="module")
def sleeper(shared_project: Project, daemon: RunningDaemon) -> str:
    return live(daemon, shared_project.endpoint("sleeper", SLEEP_FLOW, wait_s=0.3))


# ---- the answer ------------------------------------------------------------------------------------------------------


def test_sync_answers_with_the_execution(daemon: RunningDaemon, open_hook: str) -> None:
    answer = daemon.post(open_hook + "?debug=1", {"name": "Ada"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    record = answer.json
    assert record["script"] == INPUT_FLOW
    assert record["type"] == "FLOW"
    assert record["name"] == record["flow_name"] == record["webhook_name"] == "open"
    assert record["client_name"] == "acme"
    assert record["user_name"] == "kevin"
    assert record["status"] == "ENDED_SUCCESS"
    assert record["message"] == ""
    assert record["input_value"]["json"] == {"name": "Ada"}
    assert record["input_value"]["query"] == {"debug": "1"}
    assert record["output_value"]["json"] == {"name": "Ada"}
    times = [datetime.fromisoformat(record[name]) for name in ("created_at", "started_at", "ended_at")]
    assert times == sorted(times)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", record["id"])


def test_what_the_flow_receives(daemon: RunningDaemon, open_hook: str) -> None:
    connection = daemon.connect()
    connection.putrequest("POST", open_hook + "?bare&twice=1&twice=2")
    connection.putheader("X-GitHub-Event", "push")
    connection.putheader("X-Twice", "a")
    connection.putheader("X-Twice", "b")
    connection.putheader("Content-Length", "7")
    connection.putheader("Content-Type", "application/json")
    connection.endheaders(b'{"a":1}')
    given = json.loads(connection.getresponse().read())["input_value"]
    connection.close()
    assert given["method"] == "POST"
    assert given["path"] == open_hook
    assert given["query"] == {"bare": "", "twice": ["1", "2"]}
    assert given["headers"]["x-github-event"] == "push"
    assert given["headers"]["x-twice"] == "a, b"
    assert given["json"] == {"a": 1}
    assert "data" not in given


def test_a_flow_reads_headers_without_case_and_the_payload_as_data_json(
    shared_project: Project, daemon: RunningDaemon
) -> None:
    source = """
def handler(system, this, inputs):
    this.set_output('event', inputs['headers'].get('X-GitHub-Event'))
    this.set_output('same', inputs['data_json'] == inputs['json'])
"""
    path = live(daemon, shared_project.endpoint("caseless", source))
    answer = daemon.post(path, {"a": 1}, headers={"x-github-event": "push"})
    assert answer.json["output_value"] == {"event": "push", "same": True}
    assert "data_json" not in answer.json["input_value"]


@pytest.mark.parametrize("prefix", ["/api/1/", "/api/latest/"])
def test_versioned_paths_are_the_same(daemon: RunningDaemon, open_hook: str, prefix: str) -> None:
    path = open_hook.replace("/api/", prefix)
    answer = daemon.get(path)
    assert answer.status == 200
    assert answer.json["input_value"]["path"] == path


def test_head_runs_nothing(daemon: RunningDaemon, open_hook: str) -> None:
    started = daemon.ask("status")["executions"]["started"]
    answer = daemon.request("HEAD", open_hook)
    assert (answer.status, answer.body) == (200, b"")
    assert daemon.ask("status")["executions"]["started"] == started


def test_a_flow_that_fails_is_500_with_the_same_body(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("fails", "def handler(system, this):\n    return 1 / 0\n"))
    answer = daemon.post(path, {})
    assert answer.status == 500
    record = answer.json
    assert record["status"] == "ENDED_ERROR"
    assert "ZeroDivisionError" in record["message"]
    assert "return 1 / 0" in record["message"]
    assert "line 2" in record["message"]
    assert "whd/sandbox" not in record["message"]


def test_this_error_is_500(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("says-no", "def handler(system, this):\n    this.error('no')\n"))
    answer = daemon.post(path, {})
    assert (answer.status, answer.json["message"]) == (500, "no")


@pytest.mark.parametrize("limit", [{"timeout_s": 0.3}, {"cpu_s": 0.3}])
def test_an_endless_flow_gets_504_and_nobody_else_notices(
    shared_project: Project, daemon: RunningDaemon, open_hook: str, limit: dict[str, Any]
) -> None:
    (name,) = limit
    source = "def handler(system, this):\n    this.set_output('a', 1)\n    while True:\n        pass\n"
    path = live(daemon, shared_project.endpoint(f"loops-{name.replace('_', '-')}", source, **limit))
    with ThreadPoolExecutor() as pool:
        looping = pool.submit(daemon.post, path, {})
        assert daemon.post(open_hook, {"a": 1}).status == 200
        answer = looping.result()
    assert answer.status == 504
    assert answer.json["status"] == "ENDED_ERROR"
    assert name in answer.json["message"]
    assert "0.3" in answer.json["message"]
    assert daemon.post(open_hook, {}).status == 200


def test_show_script_false_leaves_it_out(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("secretive", INPUT_FLOW, show_script=False))
    record = daemon.post(path, {}).json
    assert "script" not in record
    status = daemon.get(f"/api/execution/acme/{record['id']}").json
    assert "script" not in status


def test_a_flow_may_answer_for_itself(shared_project: Project, daemon: RunningDaemon) -> None:
    sources = {
        "html": "this.webhook_html_response('<p>grüß</p>')",
        "own": "this.webhook_response('no tea', status=418, headers={'X-Pot': 'tea'})",
        "own-json": "this.webhook_json_response({'a': [1]}, status=201)",
        "empty": "this.webhook_response('', status=204)",
    }
    paths = {
        name: live(daemon, shared_project.endpoint(f"answer-{name}", f"def handler(system, this):\n    {call}\n"))
        for name, call in sources.items()
    }
    html = daemon.get(paths["html"])
    assert (html.status, html.body.decode()) == (200, "<p>grüß</p>")
    assert html.headers["content-type"].startswith("text/html")
    own = daemon.get(paths["own"])
    assert (own.status, own.body, own.headers["x-pot"]) == (418, b"no tea", "tea")
    own_json = daemon.get(paths["own-json"])
    assert (own_json.status, own_json.json) == (201, {"a": [1]})
    assert own_json.headers["content-type"] == "application/json"
    connection = daemon.connect()
    assert daemon.get(paths["empty"], connection=connection).status == 204
    assert daemon.get(paths["empty"], connection=connection).status == 204
    connection.close()


def fields_of(daemon: RunningDaemon, path: str) -> list[tuple[str, str]]:
    """Status and fields of an answer as they came, each one."""
    with socket.create_connection((daemon.host, daemon.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[0].decode("latin-1")
    status, *lines = head.split("\r\n")
    return [("status", status.split()[1]), *((line.partition(":")[0], line.partition(": ")[2]) for line in lines)]


def test_an_answer_may_have_several_fields_of_a_name(shared_project: Project, daemon: RunningDaemon) -> None:
    source = """
def handler(system, this):
    path = '; HttpOnly; Path=/api/webhook/acme/answer-fields'
    this.webhook_response('{}', headers={
        'Set-Cookie': ['a=1' + path, 'b=2' + path], 'Vary': ['Accept', 'Cookie'],
        'Content-Type': 'text/plain', 'content-type': 'application/json',
    })
"""
    fields = fields_of(daemon, live(daemon, shared_project.endpoint("answer-fields", source)))
    path = "; HttpOnly; Path=/api/webhook/acme/answer-fields"
    assert fields[0] == ("status", "200")
    assert [value for name, value in fields if name == "set-cookie"] == ["a=1" + path, "b=2" + path]
    assert [value for name, value in fields if name == "vary"] == ["Accept", "Cookie"]
    assert [value for name, value in fields if name == "content-type"] == ["application/json"]


def test_an_answer_cannot_order_the_proxy_or_bind_the_site(shared_project: Project, daemon: RunningDaemon) -> None:
    source = """
def handler(system, this, inputs):
    query = inputs['query']
    this.webhook_response('x', headers={query['name']: query['value']})
"""
    path = live(daemon, shared_project.endpoint("answer-orders", source))
    for name, value, words in (
        (
            "X-Accel-Redirect",
            "/internal/secret",
            "the header 'X-Accel-Redirect' is an order to the proxy in front of whd",
        ),
        ("X-Sendfile", "/etc/passwd", "send a file's content as the body"),
        ("Whd-Execution-Id", "1", "take another name"),
        ("Strict-Transport-Security", "max-age=1", "holds for the whole site"),
        ("Set-Cookie", "a=b; Path=/", "add '; Path=/api/webhook/acme/answer-orders'"),
        ("Set-Cookie", "a=b; Path=/api/webhook/acme/answer-orders; domain = example.com", "leave Domain out"),
    ):
        answer = daemon.get(f"{path}?name={name}&value={quote(value)}")
        assert (answer.status, answer.headers.get(name.lower()) == value) == (500, False)
        assert "InvalidInputError: webhook_response: the header '" in answer.json["message"]
        assert words in answer.json["message"]
    assert daemon.get(f"{path}?name=X-Pot&value=tea").headers["x-pot"] == "tea"


# ---- the key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "body", "headers"),
    [
        (f"?key={KEY}", {"a": 1}, {}),
        ("", {"a": 1, "key": KEY}, {}),
        ("", {"a": 1}, {"Authorization": f"Bearer {KEY}"}),
        ("", {"a": 1}, {"X-Webhook-Key": KEY}),
        (f"?key={KEY}", {"a": 1, "key": KEY}, {"X-Webhook-Key": KEY}),
    ],
)
def test_the_key_is_taken_from_each_place_and_removed(
    daemon: RunningDaemon, keyed: str, query: str, body: Any, headers: dict[str, str]
) -> None:
    answer = daemon.post(keyed + query, body, headers=headers)
    assert answer.status == 200
    assert answer.json["input_value"]["json"] == {"a": 1}
    assert KEY not in answer.body.decode()


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("padding", ["", "x" * 300_000])
@pytest.mark.parametrize(
    ("query", "headers", "body", "given"),
    [
        (f"?key={KEY}", JSON, '{"key": "PROJ-7", "a": 1}', {"key": "PROJ-7", "a": 1}),
        ("", {"X-Webhook-Key": KEY, **JSON}, '{"key": 5, "a": 1}', {"key": 5, "a": 1}),
        ("", {"Authorization": f"Bearer {KEY}", **JSON}, '{"a": 1, "key": null}', {"a": 1, "key": None}),
        (f"?key={KEY}", JSON, f'{{"key": "{KEY}", "a": 1}}', {"a": 1}),
        (f"?key={KEY}", FORM, "key=PROJ-7&a=1", {"key": "PROJ-7", "a": "1"}),
        ("", {"X-Webhook-Key": KEY, **FORM}, "key=a&key=b", {"key": ["a", "b"]}),
        ("", {"X-Webhook-Key": KEY, **FORM}, f"key={KEY}&a=1", {"a": "1"}),
    ],
)
def test_a_payload_member_of_the_senders_own_stays_beside_a_key_elsewhere(
    daemon: RunningDaemon, keyed: str, query: str, headers: dict[str, str], body: str, given: Any, padding: str
) -> None:
    if padding:
        given = {**given, "pad": padding}
        body = f"{body}&pad={padding}" if FORM.items() <= headers.items() else f'{body[:-1]}, "pad": "{padding}"}}'
    answer = daemon.post(keyed + query, body.encode(), headers=headers)
    assert answer.status == 200, answer.body
    assert answer.json["input_value"]["json"] == given
    assert KEY not in answer.body.decode()


@pytest.mark.parametrize("padding", ["", "x" * 300_000])
def test_the_key_in_the_payload_works_beside_anothers_authorization(
    daemon: RunningDaemon, keyed: str, padding: str
) -> None:
    theirs = {"Authorization": "Bearer of-a-proxy", "Referer": f"https://a.example/?key={KEY}"}
    answer = daemon.post(keyed, {"key": KEY, "pad": padding}, headers=theirs)
    assert answer.status == 200
    given = answer.json["input_value"]
    assert given["json"] == {"pad": padding}
    assert given["headers"]["authorization"] == "Bearer of-a-proxy"
    assert given["headers"]["referer"] == "https://a.example/?key=***"


def test_the_key_in_a_form(daemon: RunningDaemon, keyed: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = daemon.post(keyed, f"a=1&key={KEY}", headers=headers)
    assert answer.json["input_value"]["json"] == {"a": "1"}


@pytest.mark.parametrize(
    ("query", "body", "headers"),
    [
        ("", {"a": 1}, {}),
        ("?key=", {}, {}),
        ("?key=wrong", {"key": KEY}, {}),
        (f"?key={KEY}&key=wrong", {}, {}),
        (f"?key={KEY}&key={KEY}", {}, {}),
        ("?key=wrong", {}, {"X-Webhook-Key": KEY}),
        (f"?key={KEY}", {}, {"X-Webhook-Key": "wrong"}),
        ("", f'{{"key": "{KEY}", "key": "{KEY}"}}'.encode(), {}),
        ("", {"key": 5}, {}),
        ("", {"key": None}, {}),
        ("", {"key": [KEY]}, {}),
        ("", {}, {"Authorization": "Bearer wrong"}),
        ("", {}, {"Authorization": f"Basic {KEY}"}),
        ("", [KEY], {}),
    ],
)
def test_a_missing_or_wrong_key_is_401(
    daemon: RunningDaemon, keyed: str, query: str, body: Any, headers: dict[str, str]
) -> None:
    answer = daemon.post(keyed + query, body, headers=headers)
    problem(answer, 401, "invalid_key")
    assert "www-authenticate" in answer.headers


def test_a_wrong_key_in_the_query_is_refused_before_the_body(daemon: RunningDaemon, keyed: str) -> None:
    with socket.create_connection((daemon.host, daemon.port), timeout=10) as connection:
        head = f"POST {keyed}?key=wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_any_of_several_keys_is_valid(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(
        daemon, shared_project.endpoint("rotated", INPUT_FLOW, key=["new", "old"]), headers={"X-Webhook-Key": "new"}
    )
    assert daemon.post(path + "?key=old", {}).status == 200
    assert daemon.post(path + "?key=older", {}).status == 401


def test_without_a_webhook_key_the_payloads_own_stays(daemon: RunningDaemon, open_hook: str) -> None:
    answer = daemon.post(open_hook + "?key=q", {"key": "mine"}, headers={"Authorization": "Bearer t"})
    given = answer.json["input_value"]
    assert given["json"] == {"key": "mine"}
    assert given["query"] == {"key": "q"}
    assert given["headers"]["authorization"] == "Bearer t"


# ---- HEAD ------------------------------------------------------------------------------------------------------------


def test_head_answers_as_get_would_and_runs_nothing(shared_project: Project, daemon: RunningDaemon) -> None:
    """Senders probe before they register, with HEAD and on webhooks that only take POST."""
    flow = "def handler(system, this):\n    this.webhook_response('x', status=418)\n"
    project, header = shared_project, {"X-Webhook-Key": KEY}
    get_and_post = project.endpoint("head-both", flow, key=KEY)
    only_post = project.endpoint("head-post", flow, key=KEY, methods=["POST"])
    off = project.endpoint("head-off", flow, enabled=False)
    broken = project.endpoint("head-broken", "def handler(system, this):\n    exec('1')\n")
    forbidden = project.endpoint("head-forbidden", flow, user_name="nobody")
    live(daemon, only_post, headers=header)
    wait_for(lambda: daemon.get(forbidden).status == 503, forbidden)
    connection = daemon.connect()
    before = len(daemon.ask("executions.list", limit=1000))

    def probe(path: str, headers: dict[str, str] | None = None) -> Answer:
        answer = daemon.request("HEAD", path, headers=headers, connection=connection)
        assert answer.body == b""
        return answer

    for path in (get_and_post, only_post):
        for query in ("", f"?key={KEY}", "?x=1"):
            answer = probe(path + query, None if "key" in query else header)
            assert answer.status == 200
            assert "content-length" not in answer.headers
        assert probe(path + "?async", header).status == 202
        assert probe(path).status == 401
        assert probe(path + "?key=wrong").status == 401
    for path in (off, broken, forbidden, get_and_post + "-not"):
        get = daemon.get(path)
        assert (probe(path).status, get.status) == (get.status, get.status)
        assert get.status in (404, 503)
    connection.close()
    refused = daemon.request("PUT", only_post, headers=header)
    assert (refused.status, refused.headers["allow"]) == (405, "POST, HEAD")
    assert daemon.get(only_post, headers=header).headers["allow"] == "POST, HEAD"
    assert len(daemon.ask("executions.list", limit=1000)) == before


# ---- payloads --------------------------------------------------------------------------------------------------------


def test_gzip_bodies_are_unpacked(daemon: RunningDaemon, open_hook: str) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = daemon.post(open_hook, gzip.compress(b'{"a": 1}'), headers=headers)
    assert answer.json["input_value"]["json"] == {"a": 1}


def test_a_gzip_bomb_is_413(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("bombed", INPUT_FLOW, max_body_bytes=100_000))
    answer = daemon.post(path, gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})
    problem(answer, 413, "too_large")


def test_another_encoding_is_415(daemon: RunningDaemon, open_hook: str) -> None:
    answer = daemon.post(open_hook, b"x", headers={"Content-Encoding": "br"})
    problem(answer, 415, "unsupported_encoding")


def test_a_body_over_the_limit_is_413_before_it_is_read(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("small", INPUT_FLOW, max_body_bytes=1000))
    with socket.create_connection((daemon.host, daemon.port), timeout=10) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("body", [b"{", b'{"a": NaN}', b"[" * 300 + b"]" * 300, b'"\xff"'])
def test_bad_json_is_400(daemon: RunningDaemon, open_hook: str, body: bytes) -> None:
    answer = daemon.post(open_hook, body, headers={"Content-Type": "application/json"})
    problem(answer, 400, "bad_payload")


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_large_payloads_come_through(daemon: RunningDaemon, open_hook: str, keyed: str, size: int) -> None:
    body = {"pad": "é" * size, "n": list(range(1000))}
    assert daemon.post(open_hook, body).json["output_value"]["json"] == body
    assert daemon.post(keyed, {**body, "key": KEY}).json["input_value"]["json"] == body
    problem(daemon.post(keyed, {**body, "key": "wrong"}), 401, "invalid_key")
    bad = daemon.post(open_hook, b"[" + b"1," * size, headers={"Content-Type": "application/json"})
    problem(bad, 400, "bad_payload")


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_payload_of_each_kind_arrives_and_is_recorded(
    daemon: RunningDaemon, open_hook: str, keyed: str, *, packed: bool
) -> None:
    text = '"größe"\n\\ ' * 60_000
    data = bytes(range(256)) * 3_000
    kinds: list[tuple[str, bytes, str, dict[str, Any]]] = [
        (open_hook, json.dumps({"a": text}, ensure_ascii=False).encode(), "application/json", {"json": {"a": text}}),
        (keyed, json.dumps({"key": KEY, "a": text}).encode(), "application/json", {"json": {"a": text}}),
        (open_hook, text.encode(), "text/plain", {"json": None, "data": text}),
        (open_hook, b"x" * 700_000, "text/plain", {"json": None, "data": "x" * 700_000}),
        (
            open_hook,
            data,
            "application/octet-stream",
            {"json": None, "data": base64.b64encode(data).decode(), "data_encoding": "base64"},
        ),
        (open_hook, b"a=" + b"b+" * 200_000, "application/x-www-form-urlencoded", {"json": {"a": "b " * 200_000}}),
    ]
    for path, body, media_type, expected in kinds:
        headers = {"Content-Type": media_type} | ({"Content-Encoding": "gzip"} if packed else {})
        answer = daemon.post(path, gzip.compress(body, 1) if packed else body, headers=headers)
        assert answer.status == 200
        given = answer.json["input_value"]
        assert {name: given[name] for name in expected} == expected
        assert answer.json["output_value"]["json"] == expected["json"]


# ---- async, status, cancel -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?async", {}), ("?async=yes", {}), ("", {"Prefer": "respond-async"}), ("", {"Prefer": "wait=5, Respond-Async"})],
)
def test_async_answers_with_an_id_whose_execution_ends(
    daemon: RunningDaemon, keyed: str, query: str, headers: dict[str, str]
) -> None:
    answer = daemon.post(keyed + query, {"key": KEY, "a": 1}, headers=headers)
    assert answer.status == 202
    accepted = answer.json
    assert accepted["id"] == accepted["execution_id"]
    assert accepted["status"] in ("PENDING", "RUNNING", "ENDED_SUCCESS")
    assert answer.headers["location"] == f"/api/execution/acme/{accepted['id']}"
    record = daemon.wait_ended("acme", accepted["id"], KEY)
    assert record["status"] == "ENDED_SUCCESS"
    assert "async" not in record["input_value"]["query"]
    assert record["output_value"]["json"] == {"a": 1}


def test_async_zero_means_sync(daemon: RunningDaemon, open_hook: str) -> None:
    answer = daemon.post(open_hook + "?async=0", {}, headers={"Prefer": "respond-async"})
    assert answer.status == 200
    assert answer.json["input_value"]["query"] == {}


def test_a_sync_caller_gets_202_after_wait_s_and_the_flow_goes_on(daemon: RunningDaemon, sleeper: str) -> None:
    answer = daemon.post(sleeper + "?s=1.0", {})
    assert answer.status == 202
    assert answer.json["status"] == "RUNNING"
    assert daemon.wait_ended("acme", answer.json["id"])["message"] == "slept"


def test_status_needs_the_webhooks_key(daemon: RunningDaemon, keyed: str) -> None:
    execution_id = daemon.post(keyed, {"key": KEY}).json["id"]
    path = f"/api/execution/acme/{execution_id}"
    assert daemon.get(path, headers={"X-Webhook-Key": KEY}).json["id"] == execution_id
    assert daemon.get(f"{path}?key={KEY}").status == 200
    problem(daemon.get(path), 401, "invalid_key")
    problem(daemon.get(f"{path}?key=wrong"), 401, "invalid_key")
    problem(daemon.get(f"/api/execution/other/{execution_id}?key={KEY}"), 404, "not_found")
    problem(daemon.get(f"/api/execution/acme/nonsense?key={KEY}"), 404, "not_found")


def test_status_waits_for_the_end(daemon: RunningDaemon, sleeper: str) -> None:
    execution_id = daemon.post(sleeper + "?s=0.8&async", {}).json["id"]
    path = f"/api/execution/acme/{execution_id}"
    assert daemon.get(path).json["status"] in ("PENDING", "RUNNING")
    assert daemon.get(f"{path}?wait=0.01").json["status"] in ("PENDING", "RUNNING")
    assert daemon.get(f"{path}?wait=20").json["status"] == "ENDED_SUCCESS"
    problem(daemon.get(f"{path}?wait=-1"), 400, "bad_request")


def test_delete_cancels(daemon: RunningDaemon, sleeper: str) -> None:
    execution_id = daemon.post(sleeper + "?s=60&async", {}).json["id"]
    path = f"/api/execution/acme/{execution_id}"
    wait_for(lambda: daemon.get(path).json["status"] == "RUNNING", "the start")
    answer = daemon.request("DELETE", path)
    assert (answer.status, answer.json["status"]) == (200, "ENDED_CANCELLED")
    assert daemon.get(path).json["status"] == "ENDED_CANCELLED"


def test_a_webhook_that_is_gone_hides_its_executions(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("fleeting", INPUT_FLOW))
    execution_id = daemon.post(path, {}).json["id"]
    (shared_project.config / "acme/settings/client.webhook.fleeting.yaml").unlink()
    status = f"/api/execution/acme/{execution_id}"
    wait_for(lambda: daemon.get(status).status == 404, "the webhook to go")


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/webhook/acme/none", "/api/webhook/none/open", "/api/webhook/acme/open/x"])
def test_unknown_is_404(daemon: RunningDaemon, open_hook: str, path: str) -> None:
    problem(daemon.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_405_with_allow(daemon: RunningDaemon, open_hook: str, method: str) -> None:
    answer = daemon.request(method, open_hook)
    problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST", "HEAD"}


def test_methods_narrow_the_webhook(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("post-only", INPUT_FLOW, methods=["POST"]))
    problem(daemon.get(path), 405, "method_not_allowed")
    assert daemon.post(path, {}).status == 200


def test_disabled_is_404(shared_project: Project, daemon: RunningDaemon) -> None:
    path = shared_project.endpoint("off", INPUT_FLOW, enabled=True)
    live(daemon, path)
    shared_project.webhook("acme", "off", enabled=False)
    wait_for(lambda: daemon.get(path).status == 404, "the webhook to be off")


def test_a_user_without_the_right_is_403(shared_project: Project, daemon: RunningDaemon) -> None:
    shared_project.users("other", {"eve": {"flows": ["harmless"]}})
    path = shared_project.endpoint("forbidden", INPUT_FLOW, client="other", user_name="eve")
    wait_for(lambda: daemon.get(path).status == 403, "the webhook")
    problem(daemon.get(path), 403, "forbidden")
    assert daemon.request("HEAD", path).status == 403


@pytest.mark.parametrize(
    ("name", "source", "fields"),
    [
        ("no-such-flow", None, {"flow_name": "nowhere"}),
        ("no-such-user", INPUT_FLOW, {"user_name": "nobody"}),
        ("bad-syntax", "def handler(system, this:\n", {}),
        ("refused", "import os\n\ndef handler(system, this):\n    exec('1')\n", {}),
        ("no-handler", "x = 1\n", {}),
        ("bad-setting", INPUT_FLOW, {"flow_nam": "x"}),
    ],
)
def test_what_cannot_work_is_503_misconfigured(
    shared_project: Project, daemon: RunningDaemon, name: str, source: str | None, fields: dict[str, str]
) -> None:
    if source is not None:
        shared_project.flow("acme", name, source)
    shared_project.webhook("acme", name, **fields)
    path = f"/api/webhook/acme/{name}"
    wait_for(lambda: daemon.get(path).status != 404, "the webhook")
    answer = daemon.get(path)
    problem(answer, 503, "misconfigured")
    assert daemon.request("HEAD", path).status == 503
    assert int(answer.headers["retry-after"]) >= 1
    wait_for(lambda: any(name in fault or "nobody" in fault for fault in daemon.ask("status")["faults"]), "the fault")


def test_the_log_names_the_file_and_line_of_a_flow_that_is_refused(
    shared_project: Project, daemon: RunningDaemon
) -> None:
    shared_project.flow("acme", "evals", "def handler(system, this):\n    eval('1')\n")
    shared_project.webhook("acme", "evals")
    path = shared_project.flows / "acme" / "evals.py"
    wait_for(lambda: daemon.get("/api/webhook/acme/evals").status == 503, "the refusal")
    wait_for(lambda: f"503 misconfigured: {path}:2: `eval` is not available" in daemon.log, "its line in the log")


def test_probes_need_no_key_and_tell_no_name(daemon: RunningDaemon) -> None:
    alive, ready = daemon.get("/healthz"), daemon.get("/readyz")
    assert alive.status == ready.status == 200
    assert ready.json["status"] in ("ready", "degraded")
    assert b"acme" not in alive.body + ready.body


def test_a_full_queue_is_503_overloaded(project: Project) -> None:
    from tests.running import running

    project.options(workers=1, max_queue=2)
    path = project.endpoint("busy", "def handler(system, this):\n    while True:\n        pass\n", timeout_s=5)
    with running(project) as started, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: started.post(path + "?async", {}), range(20)))
        refused = [answer for answer in answers if answer.status == 503]
        assert refused
        assert len([answer for answer in answers if answer.status == 202]) >= 3
        problem(refused[0], 503, "overloaded")
        assert int(refused[0].headers["retry-after"]) >= 1
        for row in started.ask("executions.list"):
            started.ask("executions.cancel", id=row["id"])  # else the daemon's end would wait for their timeout_s


def test_pipelined_requests_are_answered_in_order(daemon: RunningDaemon, open_hook: str, sleeper: str) -> None:
    with socket.create_connection((daemon.host, daemon.port), timeout=10) as connection:
        for target in (f"{sleeper}?s=0.1", f"{open_hook}?n=2", "/healthz"):
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with connection.makefile("rb") as stream:
            answers = [read_answer(stream).json for _ in range(3)]
    assert answers[0]["message"] == "slept"
    assert answers[1]["input_value"]["query"] == {"n": "2"}
    assert answers[2] == {"status": "alive"}
