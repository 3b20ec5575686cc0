"""this, system and flow_api, through a real worker (FLOW_API.md)."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent, indent
from typing import Any

import pytest

from .far_side import WEBHOOK_INPUT, Ended


def flow(body: str) -> str:
    return "import flow_api\ndef handler(system, this):\n" + indent(dedent(body).strip("\n"), "    ") + "\n"


# ---- how a flow ends -------------------------------------------------------------------------------------------------

ENDS = [
    ("nothing", "pass", "ENDED_SUCCESS", ""),
    ("any value returned", "return 7", "ENDED_SUCCESS", ""),
    ("success returned", "return this.success('done')", "ENDED_SUCCESS", "done"),
    ("success called", "this.success('done')\nraise ValueError", "ENDED_SUCCESS", "done"),
    ("success without words", "this.success()", "ENDED_SUCCESS", ""),
    ("success by keyword", "this.success(message='done')", "ENDED_SUCCESS", "done"),
    ("success with a number", "this.success(7)", "ENDED_SUCCESS", "7"),
    ("a message set before", "this.set(message='half')\nthis.success()", "ENDED_SUCCESS", "half"),
    ("a message set, then the end of the handler", "this.save(message='half')", "ENDED_SUCCESS", "half"),
    ("error", "return this.error('broken')", "ENDED_ERROR", "broken"),
    ("end success", "this.end('success', message='m')", "ENDED_SUCCESS", "m"),
    ("end error", "this.end('error', 'm')", "ENDED_ERROR", "m"),
    ("end in another way", "this.end('maybe')", "ENDED_ERROR", "'success' or 'error', not 'maybe'"),
    ("except Exception", "try:\n    this.success('a')\nexcept Exception:\n    this.error('b')", "ENDED_SUCCESS", "a"),
    ("a bare except", "try:\n    this.success('a')\nexcept:\n    this.error('b')", "ENDED_SUCCESS", "a"),
    ("except BaseException", "try:\n    this.error('a')\nexcept BaseException:\n    pass", "ENDED_ERROR", "a"),
    ("except by a variable", "E = BaseException\ntry:\n    this.error('a')\nexcept E:\n    pass", "ENDED_ERROR", "a"),
    ("finally with another end", "try:\n    this.success('a')\nfinally:\n    this.error('b')", "ENDED_SUCCESS", "a"),
    ("finally with return", "try:\n    this.error('a')\nfinally:\n    return 1", "ENDED_ERROR", "a"),
    ("finally with an error", "try:\n    this.success('a')\nfinally:\n    1/0", "ENDED_SUCCESS", "a"),
    (
        "a loop that continues in finally",
        "for n in range(3):\n    try:\n        this.success('a')\n    finally:\n        continue",
        "ENDED_SUCCESS",
        "a",
    ),
    (
        "a context manager that swallows",
        """
        class Swallow:
            def __enter__(self): return self
            def __exit__(self, *args): return True
        with Swallow():
            this.success('a')
        this.error('b')
        """,
        "ENDED_SUCCESS",
        "a",
    ),
    (
        "the end's own type thrown again",
        """
        class Keep:
            def __enter__(self): return self
            def __exit__(self, kind, error, tb):
                self.kind = kind
                return True
        with Keep() as keep:
            this.success('a')
        raise keep.kind
        """,
        "ENDED_SUCCESS",
        "a",
    ),
    ("deep in a key function", "sorted([1, 2], key=lambda n: this.success('a'))", "ENDED_SUCCESS", "a"),
    ("in a generator", "def g():\n    yield this.success('a')\nlist(g())", "ENDED_SUCCESS", "a"),
    ("SystemExit", "raise SystemExit(3)", "ENDED_ERROR", "SystemExit: 3"),
    ("KeyboardInterrupt", "raise KeyboardInterrupt", "ENDED_ERROR", "KeyboardInterrupt"),
    ("GeneratorExit", "raise GeneratorExit", "ENDED_ERROR", "GeneratorExit"),
]


@pytest.mark.parametrize(("body", "status", "message"), [end[1:] for end in ENDS], ids=[end[0] for end in ENDS])
def test_how_a_flow_ends(run_flow: Callable[..., Ended], body: str, status: str, message: str) -> None:
    ended = run_flow(flow(body))
    assert ended.status == status, ended.message
    assert message in ended.message if status == "ENDED_ERROR" else message == ended.message


def test_only_errors_ask_for_a_fresh_worker(run_flow: Callable[..., Ended]) -> None:
    assert "fresh" not in run_flow(flow("pass")).head
    assert "fresh" not in run_flow(flow("this.error('expected')")).head
    assert run_flow(flow("1/0")).head["fresh"] is True


# ---- failures --------------------------------------------------------------------------------------------------------


def test_a_failure_shows_type_text_and_the_flows_own_lines(run_flow: Callable[..., Ended]) -> None:
    ended = run_flow(
        dedent(
            """
            import json

            def parse(text):
                return json.loads(text)

            def handler(system, this):
                this.log('before')
                parse('{nope')
            """
        )
    )
    assert ended.status == "ENDED_ERROR"
    assert ended.message == (
        "Traceback (most recent call last):\n"
        '  File "flows/acme/signup.py", line 9, in handler\n'
        "    parse('{nope')\n"
        '  File "flows/acme/signup.py", line 5, in parse\n'
        "    return json.loads(text)\n"
        "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    )


@pytest.mark.parametrize(
    ("body", "last"),
    [
        ("{}['key']", "KeyError: 'key'"),
        ("undefined", "NameError: name 'undefined' is not defined"),
        ("class Own(Exception): pass\nraise Own('text')", "handler.<locals>.Own: text"),
        ("raise flow_api.PermissionDenied('no')", "flow_api.PermissionDenied: no"),
        ("raise ValueError", "ValueError"),
        (
            "class Bad(Exception):\n    def __str__(self): raise KeyError\nraise Bad",
            "handler.<locals>.Bad: <its text cannot be made: KeyError>",
        ),
        ("import numpy", "ImportError: flows have no module 'numpy'; they have: base64, binascii, bisect"),
        ("import logging", "ImportError: flows have no module 'logging'; use this.log; they have: base64"),
    ],
)
def test_the_last_line_says_what_went_wrong(run_flow: Callable[..., Ended], body: str, last: str) -> None:
    ended = run_flow(flow(body))
    assert ended.status == "ENDED_ERROR"
    assert ended.message.splitlines()[-1].startswith(last)


def test_a_deep_recursion_is_an_error_with_few_lines(run_flow: Callable[..., Ended]) -> None:
    ended = run_flow(flow("def f(n):\n    return f(n + 1)\nf(0)"))
    assert "RecursionError: maximum recursion depth exceeded" in ended.message
    assert len(ended.message.splitlines()) < 60
    assert "more calls" in ended.message


def test_no_path_of_this_machine_is_in_a_failure(run_flow: Callable[..., Ended]) -> None:
    for body in ("import yaml\nyaml.safe_load('[')", "import decimal\ndecimal.Decimal('x')", "this.sleep('x')"):
        message = run_flow(flow(body)).message
        assert "/" not in message.replace("flows/acme/signup.py", ""), message


# ---- fields ----------------------------------------------------------------------------------------------------------


def test_fields_can_be_read_one_or_several(run_flow: Callable[..., Ended]) -> None:
    ended = run_flow(
        flow(
            """
            this.set_output(
                one=this.get('id'), two=this.load('name', 'type'), missing=this.get('webhook_name'),
                status=this.get('status'), message=this.get('message'), output=dict(this.get('output_value')),
                started=this.get('started_at'), inputs=this.get('input_value'),
            )
            """
        ),
        [1],
    )
    assert ended.output == {
        "one": "0198c0de-0000-7000-8000-000000000001",
        "two": ["signup", "FLOW"],
        "missing": "signup",
        "status": "RUNNING",
        "message": "",
        "output": {},
        "started": "2026-11-23T07:18:00.124Z",
        "inputs": [1],
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("this.get('nope')", "this execution has no field 'nope'; it has: id, name, type"),
        ("this.get([])", "this execution has no field []"),
        ("this.set(status='x')", "the field 'status' cannot be set; message, name, output_value can"),
        ("this.set('message')", "this.set needs a name and a value"),
        ("this.set_output([1])\nthis.set_output('a', 1)", "output_value is a list by now"),
        (
            "this.save(retention_time=1)",
            "'retention_time' cannot be set: executions are kept for the operator's retention",
        ),
        (
            "this.set(expires=1)",
            "the field 'expires' cannot be set: executions are kept for the operator's retention_min",
        ),
        ("this.flow('x', retention_time=1)", "this.flow: retention_time is not available in whd: executions are kept"),
        ("this.nope", "Execution has no 'nope'; it has: connect, end, error, flow, get"),
        ("system.nope()", "System has no 'nope'; it has: "),
        ("system.setting(5)", "a setting's name must be text, not 5"),
        ("system.setting('')", "a setting's name must be text"),
        ("this.sleep(-1)", "seconds must be 0 or more"),
        ("this.sleep('soon')", "seconds must be a number, not 'soon'"),
        ("this.sleep([])", "seconds must be a number, not list"),
        ("this.sleep(True)", "seconds must be a number, not bool"),
        ("this.sleep(float('nan'))", "seconds must be 0 or more"),
        ("this.sleep_until('tomorrow')", "sleep_until: "),
        ("system.get_own_user().get('password')", "a user has no field 'password'; it has: name"),
        ("system.setting('x').get('owner')", "a setting has no field 'owner'; it has: name, value"),
    ],
)
def test_a_wrong_argument_says_what_is_right(run_flow: Callable[..., Ended], body: str, words: str) -> None:
    ended = run_flow(flow(body))
    assert ended.status == "ENDED_ERROR"
    assert words in ended.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("this.script('x')", "this.script is not available in whd; save the script as a flow of its own"),
        ("this.task('SMTP', to='x')", "this.task: 'SMTP' is not available in whd; there is: REST"),
        ("this.connect('gcloud')", "this.connect: 'gcloud' is not available in whd; there is: REST"),
        ("system.message(subject='x')", "system.message is not available in whd; ask by a web form"),
        ("system.connection('x').get('value')", "system.connection is not available in whd; give this.task"),
        ("system.executions()", "system.executions is not available in whd; keep the ids"),
        ("system.flow('x').save(script='')", "flow.save is not available in whd; flows are files of the operator"),
        ("this.flow('x').archive()", "child.archive is not available in whd; ended executions go by themselves"),
        ("this.flow('x').clone()", "child.clone is not available in whd; call this.flow or this.task once more"),
        ("this.flow('x').delete()", "child.delete is not available in whd; ended executions go by themselves"),
        ("this.flow('x').save(expires=1)", "child.save is not available in whd; a child's fields are its own"),
        ("system.flow('x', script='')", "system.flow: flows are files of the operator; a flow cannot save one"),
        ("system.flow('x').update(script='')", "flow.update is not available in whd; flows are files of the operator"),
        ("system.get_own_user().save(email='x')", "user.save is not available in whd; users.yaml is the operator's"),
        (
            "system.setting('x').archive()",
            "setting.archive is not available in whd; it stays until delete() removes it",
        ),
        (
            "system.file('x').save_text_content('a')",
            "file.save_text_content is not available in whd; there is file.sav",
        ),
        (
            "system.file('x').get_base64_content()",
            "file.get_base64_content is not available in whd; there is file.get('content', convert_binary=False)",
        ),
        ("system.project('x')", "system.project is not available in whd; what belongs to a client are its flows"),
        ("system.log('x')", "system.log is not available in whd; it is the other of the handler's two arguments"),
        ("system.vault_config('v').write_secret('a', {})", "system.vault_config is not available in whd; keep what"),
        ("system.get('input_value')", "system.get is not available in whd; the execution's fields are this.get(…)"),
        ("this.message('hi')", "this.message is not available in whd; what was meant is this.save(message=…)"),
    ],
)
def test_what_whd_lacks_is_named(run_flow: Callable[..., Ended], body: str, words: str) -> None:
    answers = {
        "child.start": {"id": "c1"},
        "child.wait": {"c1": {"name": "x", "status": "ENDED_SUCCESS", "message": ""}},
    }
    assert f"flow_api.CloudomationException: {words}" in run_flow(flow(body), answers=answers).message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("this.get()", "this.get() missing 1 required positional argument"),
        ("this.load()", "this.load() missing 1 required positional argument"),
        ("this.success('a', 'b')", "this.success() takes from 1 to 2 positional arguments but 3 were given"),
        ("this.sleep(1, unit='s')", "this.sleep() got an unexpected keyword argument 'unit'"),
        ("system.setting('a').save(5)", "setting.save() takes 1 positional argument but 2 were given"),
        ("system.execution('a', by='id')", "system.execution() got an unexpected keyword argument 'by'"),
        ("this.flow('x', run=False).wait(1, 2)", "child.wait() takes from 1 to 2 positional arguments"),
    ],
)
def test_pythons_own_errors_name_a_method_as_flows_write_it(
    run_flow: Callable[..., Ended], body: str, words: str
) -> None:
    last = run_flow(flow(body)).message.splitlines()[-1]
    assert last.startswith(f"TypeError: {words}")


def test_the_errors_have_a_module_of_their_own_too(run_flow: Callable[..., Ended]) -> None:
    body = """
    import flow_api.exceptions
    from flow_api.exceptions import PermissionDenied
    from flow_api import exceptions
    names = ['CloudomationException', 'PermissionDenied', 'ResourceNotFoundError', 'DependencyFailedError',
             'TimeoutExceededError', 'InvalidInputError', 'MissingInputError']
    this.set_output('same', all(getattr(flow_api, name) is getattr(flow_api.exceptions, name) for name in names))
    try:
        system.setting('x').get()
    except (exceptions.ResourceNotFoundError, PermissionDenied) as error:
        this.set_output('caught', repr(error))
    """
    ended = run_flow(flow(body), answers={"setting.get": ("PermissionDenied", "no")})
    assert ended.output == {"same": True, "caught": "PermissionDenied('no')"}


def test_the_name_travels_back(run_flow: Callable[..., Ended]) -> None:
    assert run_flow(flow("this.set(name='order 7')")).head["name"] == "order 7"


# ---- the daemon's answers --------------------------------------------------------------------------------------------


def test_a_setting_is_asked_of_the_daemon(run_flow: Callable[..., Ended]) -> None:
    body = """
    setting = system.setting('app.greeting')
    if setting.exists():
        this.set_output(value=setting.get('value'), both=setting.load('name', 'value'), plain=setting.get())
    """
    ended = run_flow(flow(body), answers={"setting.exists": True, "setting.get": {"text": "Hi"}})
    assert ended.output == {
        "value": {"text": "Hi"},
        "both": ["app.greeting", {"text": "Hi"}],
        "plain": {"text": "Hi"},
    }
    assert (
        ended.calls == [("setting.exists", {"name": "app.greeting"})] + [("setting.get", {"name": "app.greeting"})] * 3
    )


@pytest.mark.parametrize("kind", ["PermissionDenied", "ResourceNotFoundError", "TimeoutExceededError"])
def test_a_refusal_is_an_error_of_flow_api(run_flow: Callable[..., Ended], kind: str) -> None:
    body = f"""
    try:
        system.setting('x').get('value')
    except flow_api.{kind} as error:
        this.set_output(text=str(error), is_api=isinstance(error, flow_api.CloudomationException))
    """
    ended = run_flow(flow(body), answers={"setting.get": (kind, "kevin may not")})
    assert ended.output == {"text": "kevin may not", "is_api": True}


def test_an_unknown_error_is_still_one_of_the_api(run_flow: Callable[..., Ended]) -> None:
    ended = run_flow(flow("system.setting('x').exists()"), answers={"setting.exists": ("Nope", "odd")})
    assert "flow_api.CloudomationException: odd" in ended.message


def test_sleep_is_asked_of_the_daemon(run_flow: Callable[..., Ended]) -> None:
    body = """
    import datetime, time
    this.sleep(1.5)
    this.sleep('0.5')
    time.sleep(2)
    this.sleep_until(datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc))
    this.sleep_until('2026-01-01T00:00:00+00:00')
    this.sleep_until(7)
    this.sleep_until('1767225600')
    this.sleep_until('1767225600.5')
    this.sleep_until('20260101T000000Z')
    """
    assert run_flow(flow(body)).calls == [
        ("sleep", {"seconds": 1.5}),
        ("sleep", {"seconds": 0.5}),
        ("sleep", {"seconds": 2.0}),
        ("sleep", {"until": 1767225600.0}),
        ("sleep", {"until": 1767225600.0}),
        ("sleep", {"until": 7.0}),
        ("sleep", {"until": 1767225600.0}),
        ("sleep", {"until": 1767225600.5}),
        ("sleep", {"until": 1767225600.0}),
    ]


# ---- the log ---------------------------------------------------------------------------------------------------------


def test_log_lines_are_structured_and_sent_at_once(run_flow: Callable[..., Ended]) -> None:
    body = """
    this.log('order', {'id': 7}, [1, None])
    this.log(level='high', ü='ü😀')
    this.log('both', n=1)
    this.log()
    print('a', 1, sep='-', end='!')
    print('line')
    this.log(ValueError('bad'), {1, 2}, object, float('nan'), chr(0xd800))
    """
    ended = run_flow(flow(body))
    lines = ended.log
    assert all(type(line.pop("at")) is int for line in lines)
    assert lines[:6] == [
        {"args": ["order", {"id": 7}, [1, None]]},
        {"fields": {"level": "high", "ü": "ü😀"}},
        {"args": ["both"], "fields": {"n": 1}},
        {},
        {"text": "a-1!"},
        {"text": "line"},
    ]
    assert lines[6]["args"] == ["bad", [1, 2], "<class 'object'>", "nan", "\ud800"]


# ---- answers to the webhook's caller ---------------------------------------------------------------------------------

RESPONSES: list[tuple[str, dict[str, Any]]] = [
    (
        "this.webhook_html_response('<p>ü</p>')",
        {"status": 200, "headers": {"content-type": "text/html; charset=utf-8"}, "body": "<p>ü</p>"},
    ),
    (
        "this.webhook_html_response(html='x')",
        {"status": 200, "headers": {"content-type": "text/html; charset=utf-8"}, "body": "x"},
    ),
    (
        "this.webhook_response('hi', status=201, headers={'X-A': 'b', 'x-n': 7})",
        {"status": 201, "headers": {"x-a": "b", "x-n": "7", "content-type": "text/plain; charset=utf-8"}, "body": "hi"},
    ),
    (
        "this.webhook_response(b'\\xff', headers={'Content-Type': 'image/png'})",
        {"status": 200, "headers": {"content-type": "image/png"}, "body_base64": "/w=="},
    ),
    (
        "this.webhook_response('x', headers={'Content-Type': 'text/csv', 'content-type': 'image/png'})",
        {"status": 200, "headers": {"content-type": "image/png"}, "body": "x"},
    ),
    (
        "this.webhook_response('x', headers={'Vary': ['a', 'b'], 'Link': ('c',), 'X-None': [], 'content-type': []})",
        {
            "status": 200,
            "headers": {"vary": ["a", "b"], "link": "c", "content-type": "text/plain; charset=utf-8"},
            "body": "x",
        },
    ),
    (
        "path = '; path=/api/webhook/acme/signup'\n"
        "this.webhook_json_response(1, headers={'Set-Cookie': ['a=1' + path, 'b=2' + path]})",
        {
            "status": 200,
            "headers": {
                "set-cookie": ["a=1; path=/api/webhook/acme/signup", "b=2; path=/api/webhook/acme/signup"],
                "content-type": "application/json",
            },
            "body": "1",
        },
    ),
    (
        "this.webhook_response({'a': [1]})",
        {"status": 200, "headers": {"content-type": "application/json"}, "body": '{"a":[1]}'},
    ),
    (
        "this.webhook_json_response('text', 404)",
        {"status": 404, "headers": {"content-type": "application/json"}, "body": '"text"'},
    ),
    (
        "this.webhook_response(status=204)",
        {"status": 204, "headers": {"content-type": "text/plain; charset=utf-8"}, "body": ""},
    ),
]


@pytest.mark.parametrize(("body", "response"), RESPONSES, ids=[response[0][:40] for response in RESPONSES])
def test_a_flow_answers_for_itself(run_flow: Callable[..., Ended], body: str, response: dict[str, Any]) -> None:
    ended = run_flow(flow(f"this.set_output('a', 1)\n{body}\nthis.error('not reached')"))
    assert ended.status == "ENDED_SUCCESS", ended.message
    assert ended.head["response"] == response
    assert ended.output == {"a": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("'x', 199", "status must be a whole number from 200 to 599"),
        ("'x', 600", "status must be a whole number"),
        ("'x', '200'", "status must be a whole number"),
        ("'x', True", "status must be a whole number"),
        ("'x', headers={'a': 'b\\r\\nSet-Cookie: c'}", "has a line break"),
        ("'x', headers={'a': 'b\\nc'}", "has a line break"),
        ("'x', headers={'a': 'b\\x00c'}", "has a line break or another character"),
        ("'x', headers={'a': '€'}", "another character that HTTP does not allow"),
        ("'x', headers={'a\\r\\n': 'b'}", "cannot be a header's name"),
        ("'x', headers={'': 'b'}", "cannot be a header's name"),
        ("'x', headers={'a b': 'b'}", "cannot be a header's name"),
        ("'x', headers={'Content-Length': '5'}", "is set by the server; leave it out"),
        ("'x', headers={'transfer-encoding': 'chunked'}", "is set by the server"),
        ("'x', headers={'Connection': 'close'}", "is set by the server"),
        ("'x', headers={'a': {'b': 1}}", "must be text, or a list of texts, not dict"),
        ("'x', headers={'a': None}", "must be text, or a list of texts, not NoneType"),
        ("'x', headers={'a': ['b', ['c']]}", "must be text, or a list of texts, not list"),
        ("'x', headers={'a': ['b', 'c\\r\\nd: e']}", "has a line break"),
        ("'x', headers={'Location': ['/a', '/b']}", "'Location' is sent once at most; give it one text, not a list"),
        ("'x', headers={'X-Accel-Redirect': '/internal'}", "'X-Accel-Redirect' is an order to the proxy in front of"),
        ("'x', headers={'x_sendfile': '/etc/passwd'}", "leave it out, and send a file's content as the body"),
        ("'x', headers={'Whd-Execution-Id': '1'}", "take another name"),
        ("'x', headers={'Strict-Transport-Security': 'x'}", "holds for the whole site"),
        ("'x', headers={'Set-Cookie': 'a=b'}", "needs the webhook's own path"),
        ("'x', headers={'Set-Cookie': 'a=b; Path=/'}", "add '; Path=/api/webhook/acme/signup'"),
        ("'x', headers={'Set-Cookie': 'a=b; Path=/api/webhook/acme/signup; dOmAin = a'}", "has a Domain"),
        ("'x', headers={1: 'b'}", "a header's name must be text, not int"),
        ("'x', headers=[('a', 'b')]", "headers must be a dict"),
        ("'x', headers={'a': 'b' * 9000}", "is too long"),
        ("'x', headers={'a%d' % n: 'b' for n in range(101)}", "at most 100 headers"),
        ("'x', headers={'a': ['b'] * 101}", "at most 100 headers"),
        ("object()", "which has no JSON form"),
        ("'x', 204", "an answer with status 204 has no body"),
    ],
)
def test_an_answer_that_http_does_not_allow_is_refused(
    run_flow: Callable[..., Ended], arguments: str, words: str
) -> None:
    ended = run_flow(flow(f"this.webhook_response({arguments})"))
    assert ended.status == "ENDED_ERROR"
    assert "flow_api.InvalidInputError: webhook_response: " in ended.message
    assert words in ended.message
    assert "response" not in ended.head


def test_a_header_value_that_lies_is_taken_by_its_data(run_flow: Callable[..., Ended]) -> None:
    body = """
    class Lie(str):
        def __iter__(self): return iter('fine')
        def __str__(self): return 'fine'
    this.webhook_response('x', headers={'a': Lie('b' + chr(13) + chr(10) + 'c: d')})
    """
    assert "has a line break" in run_flow(flow(body)).message


# ---- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "limits", "message"),
    [
        (
            "this.set_output('a', 'x' * 1000)",
            {"max_output_bytes": 1000},
            "max_output_bytes: the output has 1008 bytes; 1000 are allowed",
        ),
        (
            "this.webhook_response('ü' * 501)",
            {"max_output_bytes": 1000},
            "max_output_bytes: the answer has 1002 bytes; 1000 are allowed",
        ),
        ("while True:\n    this.log('x' * 100)", {"max_log_bytes": 5000}, "max_log_bytes: more than 5000 bytes of log"),
        ("while True:\n    print('x')", {"max_log_bytes": 500}, "max_log_bytes: more than 500 bytes of log"),
        (
            "while True:\n    try:\n        this.sleep(0)\n    except BaseException:\n        pass",
            {"max_calls": 5},
            "max_calls: more than 5 requests to the daemon",
        ),
    ],
)
def test_a_limit_ends_the_flow_and_is_named_with_its_value(
    run_flow: Callable[..., Ended], body: str, limits: dict[str, int], message: str
) -> None:
    ended = run_flow(flow(body), **limits)
    assert (ended.status, ended.message) == ("ENDED_ERROR", message)
    assert ended.head["limit"] == next(iter(limits))
    assert ended.head["fresh"] is True


@pytest.mark.parametrize(
    "body", ["x = 'x' * 10**10", "x = []\nwhile True:\n    x.append('y' * 10**6)", "x = [0] * 10**9"]
)
def test_memory_has_an_end(run_flow: Callable[..., Ended], body: str) -> None:
    ended = run_flow(flow(body), memory_bytes=67_108_864)
    assert ended.message == "memory_bytes: more than 67108864 bytes of memory are needed"
    assert ended.head["limit"] == "memory_bytes"
    assert ended.output == {}


def test_an_output_that_is_no_json_names_the_path(run_flow: Callable[..., Ended]) -> None:
    ended = run_flow(flow("this.set_output('a', [0, 1, 2, {'deep': object()}])"))
    assert ended.status == "ENDED_ERROR"
    assert ended.message == (
        "the output is not JSON: output_value['a'][3]['deep'] is an object, which has no JSON form; "
        "use a dict, list, text, number, bool or None"
    )


def test_a_webhooks_input_stays_a_dict(run_flow: Callable[..., Ended]) -> None:
    body = """
    import copy, json
    inputs = this.get('input_value')
    this.set_output(
        text=json.loads(json.dumps(inputs)) == inputs, copied=copy.deepcopy(inputs) == inputs,
        keys=sorted(inputs), type=isinstance(inputs, dict), same=this.get('input_value') is inputs,
        headers={**inputs['headers']},
    )
    """
    assert run_flow(flow(body), WEBHOOK_INPUT).output == {
        "text": True,
        "copied": True,
        "keys": sorted(WEBHOOK_INPUT),
        "type": True,
        "same": True,
        "headers": WEBHOOK_INPUT["headers"],
    }


# ---- what acts once the flow has ended -------------------------------------------------------------------------------

LEAVING = [
    ("finally", "try:\n    this.error('first')\nfinally:\n    act()"),
    ("finally, after an answer", "try:\n    this.webhook_html_response('first')\nfinally:\n    act()"),
    ("finally, in a function that it calls", "try:\n    this.success('first')\nfinally:\n    (lambda: act())()"),
    (
        "each finally on the way",
        """
        try:
            try:
                this.error('first')
            finally:
                pass
        finally:
            act()
        """,
    ),
    (
        "finally, after an error within it",
        """
        try:
            this.error('first')
        finally:
            try:
                1 / 0
            except ZeroDivisionError:
                act()
        """,
    ),
    (
        "finally, an end within it",
        """
        try:
            this.error('first')
        finally:
            try:
                this.success('second')
            finally:
                act()
        """,
    ),
    (
        "finally, within an except",
        """
        try:
            1 / 0
        except ZeroDivisionError:
            try:
                this.error('first')
            finally:
                act()
        """,
    ),
    (
        "finally of a generator",
        """
        def g():
            try:
                yield this.error('first')
            finally:
                act()
        list(g())
        """,
    ),
    (
        "a generator that is closed in finally",
        """
        def g():
            try:
                yield 1
            finally:
                act()
        running = g()
        next(running)
        try:
            this.error('first')
        finally:
            running.close()
        """,
    ),
    (
        "an iteration in finally",
        """
        def g():
            yield 1
            act()
        try:
            this.error('first')
        finally:
            list(g())
        """,
    ),
    (
        "__exit__",
        """
        class Machine:
            def __enter__(self): return self
            def __exit__(self, *args): act()
        with Machine():
            this.error('first')
        """,
    ),
    (
        "finally that returns",
        """
        def inner():
            try:
                this.error('first')
            finally:
                act()
                return 1
        inner()
        """,
    ),
    ("finally that raises", "try:\n    this.error('first')\nfinally:\n    act()\n    1 / 0"),
]  # fmt: skip

ACTS = [
    ("log", "this.log('acted')", lambda ended: ended.log and ended.log[0]["args"] == ["acted"]),
    ("print", "print('acted')", lambda ended: ended.log and ended.log[0]["text"] == "acted"),
    ("set_output", "this.set_output('acted', 1)", lambda ended: ended.output == {"acted": 1}),
    ("a setting", "system.setting('machines').save(value=[])", lambda ended: ended.calls[0][0] == "setting.save"),
    ("a child", "this.flow('delete')", lambda ended: [c[0] for c in ended.calls] == ["child.start", "child.wait"]),
    ("an outgoing call", "this.task('REST', url='https://a')", lambda ended: ended.calls[0][0] == "task.start"),
    ("a wait", "this.wait_for(this.flow('delete', wait=False))", lambda ended: ended.calls[1][0] == "child.wait"),
    ("sleep", "this.sleep(1)", lambda ended: ended.calls[0] == ("sleep", {"seconds": 1})),
    ("save", "this.save(name='n')", lambda ended: ended.calls[0] == ("execution.save", {"name": "n"})),
]  # fmt: skip
CHILD_ANSWERS = {
    "child.start": {"id": "c1"},
    "task.start": {"id": "c1"},
    "child.wait": {"c1": {"name": "delete", "status": "ENDED_SUCCESS", "message": ""}},
}


@pytest.mark.parametrize(("leaving"), [case[1] for case in LEAVING], ids=[case[0] for case in LEAVING])
def test_what_a_flow_does_on_its_way_out_acts_and_the_first_end_counts(
    run_flow: Callable[..., Ended], leaving: str
) -> None:
    ended = run_flow(flow("def act():\n    this.log('acted')\n" + dedent(leaving)))
    assert [line["args"] for line in ended.log] == [["acted"]]
    answered = "webhook" in leaving
    assert ended.status == ("ENDED_ERROR" if "error('first" in leaving else "ENDED_SUCCESS")
    assert ended.message == ("" if answered else "first")
    assert ("response" in ended.head) is answered


@pytest.mark.parametrize(("act", "acted"), [case[1:] for case in ACTS], ids=[case[0] for case in ACTS])
def test_all_that_a_flow_can_do_acts_in_finally(
    run_flow: Callable[..., Ended], act: str, acted: Callable[[Ended], bool]
) -> None:
    ended = run_flow(flow(f"try:\n    return this.error('first')\nfinally:\n    {act}"), answers=CHILD_ANSWERS)
    assert (ended.status, ended.message) == ("ENDED_ERROR", "first")
    assert acted(ended)


SWALLOWED = [
    (
        "by return in finally",
        """
        def inner():
            try:
                this.error('first')
            finally:
                return 1
        inner()
        """,
    ),
    (
        "by continue in finally",
        """
        for n in range(3):
            try:
                this.error('first')
            finally:
                continue
        """,
    ),
    (
        "by __exit__",
        """
        class Keep:
            def __enter__(self): return self
            def __exit__(self, *a): return True
        with Keep():
            this.error('first')
        """,
    ),
    (
        "by an error in finally that is caught",
        """
        try:
            try:
                this.error('first')
            finally:
                1 / 0
        except ZeroDivisionError:
            pass
        """,
    ),
]  # fmt: skip


@pytest.mark.parametrize("swallowed", [case[1] for case in SWALLOWED], ids=[case[0] for case in SWALLOWED])
def test_a_flow_that_swallows_its_end_does_not_go_on(run_flow: Callable[..., Ended], swallowed: str) -> None:
    ended = run_flow(flow(f"{dedent(swallowed)}\nthis.log('went on')\nthis.set_output('went', 'on')"))
    assert (ended.status, ended.message, ended.log, ended.output) == ("ENDED_ERROR", "first", [], {})


AFTER = [
    (
        "a generator that is collected",
        "kept = []\ndef g():\n    try:\n        yield kept\n    finally:\n        print('acted')\n"
        "def handler(system, this):\n    kept.append(g())\n    next(kept[0])\n    this.success('first')\n",
    ),
    (
        "an output that acts while it is written",
        "class Lazy(dict):\n    def items(self):\n        print('acted')\n        return [('a', 1)]\n"
        "def handler(system, this):\n    this.set_output(Lazy(a=2))\n",
    ),
    (
        "an error that acts while it is described",
        "class Bad(Exception):\n    def __str__(self):\n        print('acted')\n        return 'bad'\n"
        "def handler(system, this):\n    raise Bad\n",
    ),
]


@pytest.mark.parametrize("source", [case[1] for case in AFTER], ids=[case[0] for case in AFTER])
def test_nothing_acts_once_the_handler_has_left(run_flow: Callable[..., Ended], source: str) -> None:
    assert run_flow(source).log == []


def test_a_limit_that_is_passed_on_the_way_out_is_named(run_flow: Callable[..., Ended]) -> None:
    body = """
    try:
        this.success('first')
    finally:
        try:
            this.log('x' * 200)
        finally:
            this.log('y')
    """
    ended = run_flow(flow(body), max_log_bytes=100)
    assert ended.status == "ENDED_ERROR"
    assert ended.message == "max_log_bytes: more than 100 bytes of log"
    assert ended.log == []
