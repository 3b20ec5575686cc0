"""Each row of the flow API, as a flow that asserts what the row says, through a running daemon.

docs/flow_api_tests.md lists the rows; tests/contract/test_flow_api_table.py holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.running import Project, running

from .outside import serve_outside
from .test_flows import Caller, flow

KID = """
def handler(system, this):
    inputs = this.get('input_value') or {}
    this.set_output('got', inputs)
    this.set_output('user', this.get('user_name'))
    this.sleep(inputs.get('s', 0))
    if inputs.get('fail'):
        return this.error('as it was told')
    return this.success('kid done')
"""
LOCKER = """
def handler(system, this):
    system.setting('app.lock').acquire(timeout=0.01)
"""


class Row(NamedTuple):
    """A handler's body and what comes of it. `answer`: what the webhook's caller gets instead of the execution."""

    body: str
    message: str = ""
    status: str = "ENDED_SUCCESS"
    answer: tuple[int, str, bytes] | None = None


ERROR = "ENDED_ERROR"
# What a call with `wrong` raises, as (kind, text): most rows have something to say about that.
RAISED = """
def raised(call):
    try:
        call()
    except Exception as error:
        return repr(error)
    return 'nothing was raised'
"""

ROWS: dict[str, Row] = {
    "this.get": Row("""
        names = ['id', 'name', 'type', 'status', 'message', 'input_value', 'output_value', 'flow_name', 'webhook_name',
                 'user_name', 'client_name', 'created_at', 'started_at']
        fields = dict(zip(names, this.get(*names)))
        assert fields['input_value']['method'] == 'POST' and fields['status'] == 'RUNNING', fields
        assert this.get('type', 'user_name', 'client_name') == ('FLOW', 'kevin', 'acme')
        assert this.get('flow_name') == this.get('webhook_name') == this.get('name')
        assert fields['created_at'] <= fields['started_at'] and len(this.get('id')) == 36
        assert 'has no field' in raised(lambda: this.get('nope'))
    """),
    "this.load, this.set": Row("""
        assert this.load('status', 'name') == this.get('status', 'name')
        this.set('message', 'one')
        this.set(message='two', output_value={'a': 1})
        assert this.get('message', 'output_value') == ('two', {'a': 1})
        for field in ('id', 'status', 'user_name', 'input_value', 'nope'):
            assert 'cannot be set' in raised(lambda: this.set(field, 'x')), field
    """, "two"),
    "this.save": Row("""
        this.save(output_value={'a': 1}, message='saved', name='named')
        seen = system.execution(this.get('id'))
        assert seen.load('output_value', 'message', 'name') == ({'a': 1}, 'saved', 'named')
    """, "saved"),
    "this.set_output": Row("""
        this.set_output('k', 'v')
        this.set_output(k2='v2', k3=3)
        assert this.get('output_value') == {'k': 'v', 'k2': 'v2', 'k3': 3}
        this.set_output(['replaced'])
        assert this.get('output_value') == ['replaced']
    """),
    "this.log": Row("this.log('order', 7, [1], state='paid', what=object())\nthis.log()\nprint('printed', 1, sep='-')"),
    "this.success": Row("""
        try:
            this.success('all done')
        except Exception:
            this.error('was caught')
    """, "all done"),
    "this.error": Row("""
        try:
            return this.error(message='no')
        except:
            this.success('was caught')
    """, "no", ERROR),
    "this.end": Row("""
        assert "'success' or 'error'" in raised(lambda: this.end('done'))
        this.end('success', message='the end')
    """, "the end"),
    "a handler that just ends": Row("return 7"),
    "an error that is let go": Row("""
        items = {}
        items['missing']
    """, "items['missing']\nKeyError: 'missing'", ERROR),
    "this.sleep, this.sleep_until": Row("""
        import datetime, time
        before = time.monotonic()
        this.sleep(0.02)
        this.sleep('0.02')
        time.sleep(0.02)
        this.sleep_until(time.time() + 0.02)
        this.sleep_until(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=0.02))
        assert time.monotonic() - before >= 0.09
        this.sleep_until('2020-01-01')
        assert 'must be 0 or more' in raised(lambda: this.sleep(-1))
    """),
    "this.flow": Row("""
        child = this.flow('kid', {'a': 1}, input_value={'b': 2}, name='named', c=3)
        assert child.get('name', 'status', 'message') == ('named', 'ENDED_SUCCESS', 'kid done')
        assert child.get('output_value') == {'got': {'a': 1, 'b': 2, 'c': 3}, 'user': 'kevin'}
        assert this.flow('kid', run=False).get('status') == 'PENDING'
        assert this.flow('kid', wait=False).wait().get('status') == 'ENDED_SUCCESS'
        assert "there is no flow 'nope'" in raised(lambda: this.flow('nope'))
    """),
    "this.task, this.connect": Row("""
        base = this.get('input_value')['json']['base']
        got = this.task('REST', url=base + '/joke').get('output_value')
        assert got['status_code'] == 200 and 'joke' in got['json']['value']
        assert got['headers']['content-type'] == 'application/json'
        echo = base + '/echo'
        assert this.connect(url=echo, method='post', json={'a': 1}).get('output_value')['json']['body'] == '{"a":1}'
        sent = this.connect('REST', url=echo, method='POST', data='text', headers={'X-Extra': 'yes'}).run()
        assert (sent.get('output_value')['json']['body'], sent.get('output_value')['json']['extra']) == ('text', 'yes')
        form = this.connect(connector_type='REST', url=echo, method='post', urlencoded={'a': 'b c'})
        assert form.get('output_value')['json']['form'] == {'a': ['b c']}
        for url in (base + '/missing', base + '/elsewhere'):
            assert 'DependencyFailedError' in raised(lambda: this.task('REST', url=url)), url
        assert this.task('REST', url=base + '/missing', expected_status_code=[404]).get('status') == 'ENDED_SUCCESS'
        assert 'PermissionDenied' in raised(lambda: this.task('REST', url='http://192.0.2.1/'))
        assert 'there is: REST' in raised(lambda: this.task('SSH', hostname='x'))
    """),
    "this.task: cookies, params, timeout, auth, spaces": Row("""
        import base64, json
        base = this.get('input_value')['json']['base']
        child = this.task('REST', url=base + '/seen/a b?x=y z', params={'q': 'ä b', 'n': [1, 2]}, cookies={'a': 'b'},
                          auth={'username': 'kevin', 'password': 'geheim'}, timeout=20, allow_redirects=False)
        got = child.get('output_value')
        assert got['json']['path'] == '/seen/a%20b?x=y%20z&q=%C3%A4%20b&n=1&n=2', got
        assert got['json']['headers']['cookie'] == 'a=b'
        assert got['json']['headers']['authorization'] == 'Basic ' + base64.b64encode(b'kevin:geheim').decode()
        assert got['cookies'] == {'session': 'abc', 'theme': 'dark'} and got['encoding'] == 'utf-8'
        assert json.loads(got['text']) == got['json']
        assert child.get('input_value')['auth'] == {'username': 'kevin', 'password': '***'}
        for body in ({'urlencoded': {'a': 1}}, {'json': {'a': 1}}, {'data': 'a'}):
            assert this.task('REST', url=base + '/echo', **body).get('output_value')['json']['method'] == 'POST'
        redirected = this.task('REST', url=base + '/elsewhere', allow_redirects=False, expected_status_code=302)
        assert redirected.get('output_value')['headers']['location'].endswith('/joke')
        for wrong, hint in (({'url': base + '/\\r\\nX: y'}, 'control character'), ({'verify': False}, 'not available'),
                            ({'files': {}}, 'data='), ({'password': 'x'}, 'auth='), ({'timeout': 0}, 'more than 0')):
            error = raised(lambda: this.task('REST', **{'url': base + '/joke', **wrong}))
            assert 'InvalidInputError' in error and hint in error, error
    """),
    "this.wait_for": Row("""
        good, bad = this.flow('kid', wait=False), this.flow('kid', fail=True, wait=False)
        assert 'DependencyFailedError' in raised(lambda: this.wait_for(good, bad))
        this.wait_for(good, bad, return_when=system.return_when.ALL_ENDED)
        assert bad.get('status', 'message') == ('ENDED_ERROR', 'as it was told')
        slow, fast = this.flow('kid', s=60, wait=False), this.flow('kid', wait=False)
        assert this.wait_for(slow, fast, return_when=system.return_when.FIRST_ENDED) == (fast,)
        assert slow.get('status') in ('RUNNING', 'PENDING')
        slow.cancel()
    """),
    "this.webhook_html_response": Row(
        "this.webhook_html_response('<p>ä</p>')", answer=(200, "text/html; charset=utf-8", "<p>ä</p>".encode())
    ),
    "this.webhook_response": Row(
        """
        assert 'InvalidInputError' in raised(lambda: this.webhook_response('x', headers={'A': 'b\\r\\nC: d'}))
        this.webhook_response('a,b', status=201, headers={'Content-Type': 'text/csv'})
        """,
        answer=(201, "text/csv", b"a,b"),
    ),
    "this.webhook_json_response": Row(
        "this.webhook_json_response({'a': [1]}, 202)", answer=(202, "application/json", b'{"a":[1]}')
    ),
    "a child: run, run_async, wait, cancel": Row("""
        child = this.flow('kid', n=1, run=False)
        assert child.run() is child and child.run() is child
        assert child.get('output_value')['got'] == {'n': 1}
        child = this.flow('kid', run=False).run_async()
        child.wait()
        assert child.load('status') == 'ENDED_SUCCESS'
        child = this.flow('kid', s=60).run_async()
        child.cancel()
        child.wait(return_when=system.return_when.ALL_ENDED)
        assert child.get('status') == 'ENDED_CANCELLED'
    """),
    "a child that fails": Row("""
        for call in (lambda: this.flow('kid', fail=True), lambda: this.flow('kid', fail=True, run=False).run(),
                     lambda: this.flow('kid', fail=True, wait=False).wait()):
            try:
                call()
            except flow_api.DependencyFailedError as error:
                assert 'as it was told' in str(error)
            else:
                assert False, 'nothing was raised'
        assert this.flow('kid', fail=True, wait=system.return_when.ALL_ENDED).get('status') == 'ENDED_ERROR'
    """),
    "system.setting": Row("""
        setting = system.setting('app.rows')
        assert not setting.exists()
        setting.save(value={'a': [1]})
        assert setting.get('value') == setting.load('value') == {'a': [1]} and setting.exists()
        setting.delete()
        assert 'ResourceNotFoundError' in raised(lambda: setting.get('value'))
        assert 'ResourceNotFoundError' in raised(setting.delete)
        assert system.setting('app.colour').get('value') == 'blue'
        system.setting('app.colour', value='red')
        assert system.setting('app.colour').get('value') == 'red'
        system.setting('app.colour').delete()
        assert system.setting('app.colour').get('value') == 'blue'
    """),
    "system.setting: list_append": Row("""
        todo = system.setting('app.list', value=['a'])
        todo.list_append({'b': 1})
        assert system.setting('app.list').get('value') == ['a', {'b': 1}]
    """),
    "system.setting: acquire, release": Row("""
        lock = system.setting('app.lock')
        lock.acquire()
        failed = this.flow('locker', wait=system.return_when.ALL_ENDED)
        assert 'flow_api.TimeoutExceededError' in failed.get('message'), failed.get('message')
        lock.release()
        this.flow('locker')
    """),
    "system.setting: acquired and not there": Row("""
        assert 'ResourceNotFoundError' in raised(lambda: system.setting('app.none').get('value'))
        system.setting('app.none').acquire(timeout=5)
        assert system.setting('app.none').get('value') is None and system.setting('app.none').load() is None
        assert not system.setting('app.none').exists()
        system.setting('app.none').release()
    """),
    "system.setting: select, init, save, set, update, clone": Row("""
        system.setting(select='app.old', init={'value': 1}, save=True)
        assert system.setting('app.old', {'value': 2}, False).get('value') == 2
        old = system.setting('app.old').set(value=3)
        assert (old.get('value'), old.load('value')) == (3, 1)
        old.save()
        assert (old.get('value'), old.load('value')) == (3, 3)
        copy = old.clone(name='app.copy')
        assert copy.update(value=[4]).get('name', 'value') == ('app.copy', [4])
        assert 'ResourceNotFoundError' in raised(lambda: system.setting('app.nope').update(value=1))
        assert 'expires is not available' in raised(lambda: old.save(value=1, expires=1))
        for setting in (old, copy):
            setting.delete()
    """),
    "records: id, created_at, modified_at, by": Row("""
        import datetime
        FORMAT = '%Y-%m-%dT%H:%M:%S.%f%z'
        before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
        setting = system.setting('app.timed', value=1)
        created = setting.get('created_at')
        assert datetime.datetime.strptime(created, FORMAT) >= before and created == setting.get('modified_at')
        this.sleep(0.01)
        setting.save(value=2)
        assert setting.get('created_at') == created < setting.load('modified_at')
        assert system.setting(setting.get('id'), by='id').get('name', 'value') == ('app.timed', 2)
        setting.delete()
        file = system.file('reports/timed.txt', text='a')
        first = file.get('created_at')
        this.sleep(0.01)
        file.save(text='b')
        assert file.get('created_at') == first < file.get('modified_at')
        assert system.file(file.get('id'), by='id').get('path', 'content') == ('reports/timed.txt', 'b')
        file.delete()
        for record in (system.flow('kid'), system.setting('app.colour')):
            assert datetime.datetime.strptime(record.get('modified_at'), FORMAT).year >= 2026, record
        assert system.flow(system.flow('kid').get('id'), by='id').get('name') == 'kid'
    """),
    "system.file: text, convert_binary": Row("""
        file = system.file('reports/old.txt')
        file.save(text='one')
        assert file.get('content') == 'one' and file.get('content', convert_binary=False) == 'b25l'
        file.save(content='dHdv', convert_binary=False)
        assert file.get('content') == 'two'
        file.save(content='/wA=', convert_binary=False)
        assert file.get('content') == bytes([255, 0])
        file.delete()
    """),
    "system.setting: a saved webhook": Row("""
        hook = {'flow_name': 'kid', 'user_name': 'kevin'}
        system.setting('client.webhook.made').save(value=hook)
        base = 'user kevin may not '
        assert base + 'act as admin' in raised(
            lambda: system.setting('client.webhook.made').save(value={**hook, 'user_name': 'admin'}))
        own = 'client.webhook.' + this.get('webhook_name')
        assert base + 'write the setting ' + own in raised(lambda: system.setting(own, value=hook))
    """),
    "system.flow, system.flows": Row("""
        assert system.flow('kid').exists() and not system.flow('nope').exists()
        assert system.flow('kid').get('name') == 'kid'
        assert 'kid' in [flow.get('name') for flow in system.flows()]
    """),
    "system.file, system.files": Row("""
        file = system.file('reports/rows.csv')
        assert not file.exists()
        file.save(content='a;b')
        assert file.get('content') == 'a;b' and file.exists()
        for wanted in ({'dir': 'reports'}, {'glob': '*rows*'},
                       {'filter': {'field': 'name', 'op': 'like', 'value': 'reports/row%'}},
                       {'filter': {'field': 'name', 'op': 'eq', 'value': 'reports/rows.csv'}}):
            assert [found.get('name') for found in system.files(**wanted)] == ['reports/rows.csv'], wanted
        file.delete()
        assert 'ResourceNotFoundError' in raised(lambda: file.get('content'))
        for name in ('', '/a', 'a//b', './a', 'a/../b', 'a\\0b'):
            assert 'InvalidInputError' in raised(lambda: system.file(name)), name
    """),
    "system.settings": Row("""
        assert 'app.colour' in [setting.get('name') for setting in system.settings()]
        assert 'secret' not in [setting.get('name') for setting in system.settings()]
    """),
    "system.execution": Row("""
        child = this.flow('kid', n=7, wait=False)
        found = system.execution(child.get('id'))
        found.wait()
        assert found.get('output_value')['got'] == {'n': 7}
        assert 'ResourceNotFoundError' in raised(lambda: system.execution('nope').get('status'))
    """),
    "system.get_own_user, get_own_client, get_env_name": Row("""
        assert system.get_own_user().get('name') == 'kevin'
        assert system.get_own_client().get('name') == 'acme'
        assert isinstance(system.get_env_name(), str) and system.get_env_name()
    """),
    "flow_api": Row("""
        assert isinstance(system, flow_api.System) and isinstance(this, flow_api.Execution)
        assert system.return_when is flow_api.ReturnWhen or isinstance(system.return_when, flow_api.ReturnWhen)
        root = flow_api.CloudomationException
        for kind in (flow_api.PermissionDenied, flow_api.ResourceNotFoundError, flow_api.DependencyFailedError,
                     flow_api.TimeoutExceededError, flow_api.InvalidInputError, flow_api.MissingInputError):
            assert issubclass(kind, root) and issubclass(root, Exception)
        assert raised(lambda: system.setting('secret').get()) == (
            "PermissionDenied('user kevin may not read the setting secret')")
    """),
    "outputs are JSON": Row("""
        import datetime, decimal, uuid
        this.set_output({'date': datetime.date(2026, 1, 2), 'exact': decimal.Decimal('1.10'), 'bytes': b'x', 'set': {1},
                         'tuple': (1, 2), 'id': uuid.UUID(int=1)})
    """),
    "what is no JSON": Row(
        "this.set_output('a', [1, {'b': float('nan')}])",
        "the output is not JSON: output_value['a'][1]['b'] is nan",
        ERROR,
    ),
    "a limit": Row("this.set_output('x', 'y' * 2_000_000)", "max_output_bytes: the output has 2000008 bytes", ERROR),
}  # fmt: skip

SIGNATURES = [
    "def handler(system, this):",
    "def handler(system, this, inputs):",
    "def handler(system: flow_api.System, this: flow_api.Execution):",
    "def handler(system: flow_api.System, this: flow_api.Execution, inputs: dict):",
]


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    with serve_outside() as url:
        yield url


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory, outside: str) -> Iterator[Caller]:
    project = Project(tmp_path_factory.mktemp("rows"))
    kevin = {
        "flows": ["*"],
        "settings": {"read": ["app.*"], "write": ["app.*", "client.webhook.*"]},
        "files": {"read": ["*"], "write": ["reports/*"]},
        "connections": {"REST": [f"{outside}/*"]},
    }
    project.users("acme", {"kevin": kevin, "admin": {"flows": ["*"]}})
    project.setting("acme", "app.colour", "blue")
    project.setting("acme", "secret", "hidden")
    project.flow("acme", "kid", KID)
    project.flow("acme", "locker", LOCKER)
    project.options(max_output_bytes=1_000_000)
    with running(project) as daemon:
        yield Caller(project, daemon)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_holds(call: Caller, outside: str, name: str) -> None:
    row = ROWS[name]
    answer = call.post(RAISED + flow(row.body), {"base": outside})
    if row.answer is not None:
        assert (answer.status, answer.headers["content-type"], answer.body) == row.answer
        return
    record: Any = answer.json
    assert record["status"] == row.status, record["message"]
    assert row.message in record["message"]
    assert bool(row.message) == bool(record["message"])


def test_what_was_logged_is_kept(call: Caller) -> None:
    record = call("this.log('order', 7, state='paid')\nprint('printed', 1, sep='-')")
    lines = call.daemon.ask("executions.logs", id=record["id"])
    assert [line["args"] for line in lines if "args" in line] == [["order", 7]]
    assert [line["fields"] for line in lines if "fields" in line] == [{"state": "paid"}]
    assert [line["text"] for line in lines if "text" in line] == ["printed-1"]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_handler_may_be_written_so(call: Caller, signature: str) -> None:
    inputs = "inputs" if "inputs" in signature else "this.get('input_value')"
    source = f"import flow_api\n\n{signature}\n    return this.success({inputs}['method'])\n"
    assert call.post(source, {}).json["message"] == "POST"


def test_importing_flow_api_is_optional(call: Caller) -> None:
    source = "def handler(system, this):\n    raise flow_api.InvalidInputError('known')\n"
    assert "flow_api.InvalidInputError: known" in call.post(source, {}).json["message"]


def test_usual_json_forms(call: Caller) -> None:
    record = call(ROWS["outputs are JSON"].body)
    assert record["output_value"] == {
        "date": "2026-01-02",
        "exact": "1.10",
        "bytes": "eA==",
        "set": [1],
        "tuple": [1, 2],
        "id": "00000000-0000-0000-0000-000000000001",
    }
