"""Flows as people wrote them for the original platform from 2019 to 2021, each with what must come of it.

They are this project's own, but call what those called, the way those called it: children in all styles, settings as
memory, files as exchange, REST tasks, inputs that may be missing. One table, and therefore one long file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

import pytest

from tests.running import Project, RunningDaemon, running

from .outside import serve_outside


@dataclass(frozen=True)
class Script:
    """A flow, the flows that it calls, what it is called with, and what comes of it."""

    name: str
    source: str
    payload: Any
    output: Any
    message: str = ""
    status: str = "ENDED_SUCCESS"
    others: dict[str, str] = field(default_factory=dict)


LOOP_CHILD = """
    import time

    def handler(system, this):
        inputs = this.get('input_value')
        number = inputs['number']
        this.log(f'working on {number}')
        this.set_output('square', number * number)
        return this.success('all done')
"""

FAILS_ON_ODD = """
    def handler(system, this):
        number = this.get('input_value')['number']
        if number % 2:
            return this.error(f'{number} is odd')
        this.save(output_value={'result': number // 2})
        return this.success('all done')
"""

SCRIPTS = [
    Script(
        "hello",
        """
        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            this.log('Hello World!')
            return this.success('all done')
        """,
        None,
        {},
        "all done",
    ),
    Script(
        "success without return",
        """
        def handler(system, this):
            user_name, client_name = this.get('user_name', 'client_name')
            user_name = user_name[0].upper() + user_name[1:]
            this.set_output('hello', f'{user_name} of {client_name}')
            this.success(message='greeted')
        """,
        None,
        {"hello": "Kevin of acme"},
        "greeted",
    ),
    Script(
        "inputs that may be missing",
        """
        def handler(system, this):
            inputs = this.get('input_value')['json'] or {}
            try:
                interval = int(inputs['interval'])
            except (KeyError, TypeError):
                interval = 60
            wait = str(inputs.get('wait', False)) == 'True'
            this.log(interval=interval, wait=wait)
            this.set_output('interval', interval)
            this.set_output('wait', wait)
            return this.success('all done')
        """,
        {"wait": "True"},
        {"interval": 60, "wait": True},
        "all done",
    ),
    Script(
        "a missing input is an error",
        """
        def handler(system, this):
            inputs = this.get('input_value')['json']
            try:
                flow_name = inputs['flow_name']
            except Exception:
                return this.error('missing input "flow_name"')
            this.flow(flow_name)
        """,
        {"other": 1},
        {},
        'missing input "flow_name"',
        "ENDED_ERROR",
    ),
    Script(
        "an event by its header",
        """
        import flow_api

        KNOWN = ['created', 'closed']

        def handler(system: flow_api.System, this: flow_api.Execution):
            request = this.get('input_value')
            kind = request['headers'].get('X-Shop-Event', 'created')
            if kind not in KNOWN:
                return this.error(f'cannot handle {kind}')
            this.set_output('order', request['data_json']['order']['number'])
            this.set_output('kind', kind)
            return this.success(message='order ' + kind)
        """,
        {"order": {"number": 17}},
        {"order": 17, "kind": "created"},
        "order created",
    ),
    Script(
        "children one after the other",
        """
        def handler(system, this):
            squares = []
            for number in range(3):
                child = this.flow('loop child', number=number, name=f'loop child {number}')
                squares.append(child.get('output_value')['square'])
            this.save(output_value={'squares': squares})
            return this.success('all done')
        """,
        None,
        {"squares": [0, 1, 4]},
        "all done",
        others={"loop child": LOOP_CHILD},
    ),
    Script(
        "children in parallel",
        """
        def handler(system, this):
            calls = []
            for number in range(5):
                calls.append(this.flow('loop child', input_value={'number': number}, wait=False))
            this.wait_for(*calls)
            this.set_output('sum', sum(call.get('output_value')['square'] for call in calls))
            return this.success('all done')
        """,
        None,
        {"sum": 30},
        "all done",
        others={"loop child": LOOP_CHILD},
    ),
    Script(
        "the first style",
        """
        def handler(system, this):
            c1 = this.flow('loop child', number=1).run_async()
            c2 = this.flow('loop child', number=2).run_async()
            # do other stuff
            this.sleep('0.1')
            this.wait_for(c1, c2, return_when=system.return_when.ALL_SUCCEEDED)
            this.log(c1.get('output_value'))
            this.set_output('squares', [c.get('output_value')['square'] for c in (c1, c2)])
            this.success('all done')
        """,
        None,
        {"squares": [1, 4]},
        "all done",
        others={"loop child": LOOP_CHILD},
    ),
    Script(
        "created first and run later",
        """
        def handler(system, this):
            child = this.flow('loop child', {'number': 7}, run=False)
            this.log(before=child.get('status'))
            child.run_async()
            child.wait()
            status, message = child.load('status', 'message')
            this.set_output('child', [status, message, child.get('output_value')['square']])
            return this.success('all done')
        """,
        None,
        {"child": ["ENDED_SUCCESS", "all done", 49]},
        "all done",
        others={"loop child": LOOP_CHILD},
    ),
    Script(
        "run and read in one line",
        """
        def handler(system, this):
            square = this.flow('loop child', number=3).run().get('output_value')['square']
            again = this.flow(flow_name='loop child', input_value={'number': square}).run()
            this.set_output('result', again.get('output_value')['square'])
            return this.success('all done')
        """,
        None,
        {"result": 81},
        "all done",
        others={"loop child": LOOP_CHILD},
    ),
    Script(
        "all ended and then look who failed",
        """
        def handler(system, this):
            children = []
            for number in range(4):
                children.append(this.flow('odd', number=number, name=f'number {number}').run_async())
            this.wait_for(*children, return_when=system.return_when.ALL_ENDED)
            failed = {}
            for child in children:
                name, status, message = child.load('name', 'status', 'message')
                if status != 'ENDED_SUCCESS':
                    failed[name] = message
            this.set_output('failed', failed)
            if failed:
                return this.error(f'{len(failed)} children failed')
            return this.success('all done')
        """,
        None,
        {"failed": {"number 1": "1 is odd", "number 3": "3 is odd"}},
        "2 children failed",
        "ENDED_ERROR",
        {"odd": FAILS_ON_ODD},
    ),
    Script(
        "the first answer wins",
        """
        def handler(system, this):
            slow = this.flow('sleeper', seconds=20, wait=False)
            fast = this.flow('sleeper', seconds=0.1, wait=False)
            this.wait_for(slow, fast, return_when=system.return_when.FIRST_ENDED)
            statuses = [child.load('status') for child in (slow, fast)]
            slow.cancel()
            this.set_output('fast', statuses[1])
            this.set_output('slow has ended', statuses[0].startswith('ENDED'))
            return this.success('all done')
        """,
        None,
        {"fast": "ENDED_SUCCESS", "slow has ended": False},
        "all done",
        others={
            "sleeper": """
                def handler(system, this):
                    this.sleep(this.get('input_value')['seconds'])
                    this.success('slept')
            """
        },
    ),
    Script(
        "a failure that is expected",
        """
        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            try:
                this.flow('odd', number=5)
            except flow_api.DependencyFailedError as ex:
                this.log(repr(ex))
                this.set_output('failed', '5 is odd' in str(ex))
            else:
                return this.error('should have failed')
            child = this.flow('odd', number=7, wait=system.return_when.ALL_ENDED)
            this.set_output('status', child.get('status'))
            return this.success('all done')
        """,
        None,
        {"failed": True, "status": "ENDED_ERROR"},
        "all done",
        others={"odd": FAILS_ON_ODD},
    ),
    Script(
        "a failure that is not",
        """
        def handler(system, this):
            this.set_output('before', True)
            this.flow('odd', number=5, name='five')
            this.set_output('after', True)
            return this.success('all done')
        """,
        None,
        {"before": True},
        "the child execution 'five'",
        "ENDED_ERROR",
        {"odd": FAILS_ON_ODD},
    ),
    Script(
        "tries again until it works",
        """
        def handler(system, this):
            system.setting('tries').save(value=0)
            for _ in range(10):
                try:
                    this.flow('third time lucky')
                except Exception as ex:
                    this.log(str(ex))
                    this.sleep(0.01)
                else:
                    break
            else:
                return this.error('did not work within 10 tries')
            this.set_output('tries', system.setting('tries').get('value'))
            return this.success('all done')
        """,
        None,
        {"tries": 3},
        "all done",
        others={
            "third time lucky": """
                def handler(system, this):
                    setting = system.setting('tries')
                    tries = setting.get('value') + 1
                    setting.save(value=tries)
                    if tries < 3:
                        this.error('not yet')
                    this.success('now')
            """
        },
    ),
    Script(
        "a recursion",
        """
        def handler(system, this):
            inputs = this.get('input_value')
            n = inputs['n'] if 'n' in inputs else inputs['json']['n']
            if n < 2:
                this.set_output('value', n)
                return this.success()
            parts = [this.flow('a recursion', n=n - i, wait=False) for i in (1, 2)]
            this.wait_for(*parts)
            this.set_output('value', sum(part.get('output_value')['value'] for part in parts))
            return this.success()
        """,
        {"n": 5},
        {"value": 5},
    ),
    Script(
        "a setting as memory",
        """
        def handler(system, this):
            setting = system.setting('todo')
            if not setting.exists():
                # created on the first call
                setting.save(value={'items': []})
            todo = setting.load('value')
            todo['items'].append(this.get('input_value')['json']['item'])
            setting.save(value=todo)
            this.set_output('todo', system.setting('todo').get('value'))
            return this.success('all done')
        """,
        {"item": "water the plants"},
        {"todo": {"items": ["water the plants"]}},
        "all done",
    ),
    Script(
        "a setting in one call",
        """
        def handler(system, this):
            system.setting('geo', value='demo')
            name, value = system.setting('geo').load('name', 'value')
            system.setting('geo').delete()
            this.set_output(name=name, value=value, there=system.setting('geo').exists())
            return this.success('all done')
        """,
        None,
        {"name": "geo", "value": "demo", "there": False},
        "all done",
    ),
    Script(
        "a report that grows",
        """
        import uuid

        def handler(system, this):
            history = system.setting('check.history')
            history.save(value=[])
            children = [this.flow('check', number=n, wait=False) for n in range(6)]
            this.wait_for(*children)
            reports = history.get('value')
            this.set_output('numbers', sorted(report['number'] for report in reports))
            this.set_output('ids', len({report['check_id'] for report in reports}))
            return this.success('all done')
        """,
        None,
        {"numbers": [0, 1, 2, 3, 4, 5], "ids": 6},
        "all done",
        others={
            "check": """
                import uuid

                def handler(system, this):
                    report = {'check_id': uuid.uuid4().hex, 'number': this.get('input_value')['number']}
                    system.setting('check.history').list_append(report)
                    this.success('all done')
            """
        },
    ),
    Script(
        "one at a time",
        """
        def handler(system, this):
            system.setting('server').save(value={'active': False, 'starts': 0})
            this.wait_for([this.flow('start server', wait=False) for _ in range(5)])
            this.set_output('server', system.setting('server').get('value'))
            return this.success('all done')
        """,
        None,
        {"server": {"active": True, "starts": 1}},
        "all done",
        others={
            "start server": """
                def handler(system, this):
                    system.setting('server').acquire(timeout=None)
                    server = system.setting('server').get('value')
                    if not server['active']:
                        this.sleep(0.05)
                        server['active'] = True
                        server['starts'] += 1
                        system.setting('server').save(value=server)
                    system.setting('server').release()
                    this.success('using the server')
            """
        },
    ),
    Script(
        "a lock that is not free",
        """
        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            system.setting('lock').save(value=None)
            system.setting('lock').acquire()
            child = this.flow('impatient', wait=system.return_when.ALL_ENDED)
            this.set_output('child', child.get('message'))
            system.setting('lock').release()
            return this.success(this.flow('impatient').get('message'))
        """,
        None,
        {"child": "somebody else has it"},
        "got it",
        others={
            "impatient": """
                import flow_api

                def handler(system, this):
                    try:
                        system.setting('lock').acquire(timeout=0.1)
                    except flow_api.TimeoutExceededError:
                        return this.error('somebody else has it')
                    return this.success('got it')
            """
        },
    ),
    Script(
        "files in and out",
        """
        def handler(system, this):
            system.file('reports/today.csv').save(content='name;count')
            file = system.file('reports/today.csv')
            name, content = file.get('name', 'content')
            file.save(content=content + '\\nplants;3')
            this.set_output('name', name)
            this.set_output('lines', system.file('reports/today.csv').get('content').splitlines())
            file.delete()
            this.set_output('exists', file.exists())
            return this.success('all done')
        """,
        None,
        {"name": "reports/today.csv", "lines": ["name;count", "plants;3"], "exists": False},
        "all done",
    ),
    Script(
        "all logs of a folder",
        """
        def handler(system, this):
            system.file('logs/one.txt').save(content='ERROR: disk full')
            system.file('logs/two.txt').save(content='INFO: fine')
            system.file('other/three.txt').save(content='ERROR: not here')
            errors = []
            for file in system.files(dir='logs'):
                content = file.get('content')
                if 'ERROR:' in content:
                    errors.append(content)
            this.set_output('errors', errors)
            return this.success('all done')
        """,
        None,
        {"errors": ["ERROR: disk full"]},
        "all done",
    ),
    Script(
        "a report from the lines of several files",
        """
        import csv
        import io

        def handler(system, this):
            system.file('stock/north.csv').save(content='bolt,3\\nnut,4\\n')
            system.file('stock/south.csv').save(content='bolt,5\\n')
            totals = {}
            for record in system.files(filter={'field': 'name', 'op': 'like', 'value': 'stock/%.csv'}):
                for part, count in csv.reader(io.StringIO(record.get('content'))):
                    totals[part] = totals.get(part, 0) + int(count)
            system.setting('stock').save(value=totals)
            this.set_output('stock', system.setting('stock').get('value'))
            return this.success('counted')
        """,
        None,
        {"stock": {"bolt": 8, "nut": 4}},
        "counted",
    ),
    Script(
        "a REST task",
        """
        def handler(system, this):
            base = this.get('input_value')['json']['base']
            answer = this.task('REST', url=f'{base}/joke').get('output_value')
            assert answer['status_code'] == 200
            this.set_output('keys', sorted(answer['json']['value']))
            return this.success(message=answer['json']['value']['joke'])
        """,
        {"base": "BASE"},
        {"keys": ["joke"]},
        "a joke about webhooks",
    ),
    Script(
        "a REST task with inputs",
        """
        def handler(system, this):
            inputs = {
                'url': this.get('input_value')['json']['base'] + '/echo',
                'method': 'post',
                'data': 'payload',
                'headers': {'X-Extra': 'yes'},
            }
            task = this.task('REST', inputs)
            task.run_async()
            # do other stuff
            task.wait()
            outputs = task.get('output_value')
            this.log(outputs)
            echo = outputs['json']
            this.set_output('echo', [outputs['status_code'], echo['method'], echo['body'], echo['extra']])
            return this.success('all done')
        """,
        {"base": "BASE"},
        {"echo": [200, "POST", "payload", "yes"]},
        "all done",
    ),
    Script(
        "REST tasks in parallel",
        """
        def handler(system, this):
            base = this.get('input_value')['json']['base']
            tasks = []
            for number in range(3):
                tasks.append(this.task(
                    'REST',
                    name=f'call {number}',
                    url=f'{base}/echo',
                    method='post',
                    json={'number': number},
                    run=True,
                    wait=False,
                ))
            form = this.connect(connector_type='REST', url=f'{base}/echo', method='post', urlencoded={'a': 'b c'},
                                wait=False)
            child = this.flow('loop child', number=2, wait=False)
            this.wait_for(*tasks, form, child)
            bodies = [task.get('output_value')['json']['body'] for task in tasks]
            this.set_output('bodies', bodies)
            this.set_output('form', form.get('output_value')['json']['form'])
            this.set_output('names', [task.get('name') for task in tasks])
            return this.success('all done')
        """,
        {"base": "BASE"},
        {
            "bodies": ['{"number":0}', '{"number":1}', '{"number":2}'],
            "form": {"a": ["b c"]},
            "names": ["call 0", "call 1", "call 2"],
        },
        "all done",
        others={"loop child": LOOP_CHILD},
    ),
    Script(
        "a REST task that fails",
        """
        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            base = this.get('input_value')['json']['base']
            task = this.task('REST', url=base + '/missing', run=False)
            try:
                task.run()
            except flow_api.DependencyFailedError:
                this.set_output('status_code', task.get('output_value')['status_code'])
            accepted = this.task('REST', url=base + '/missing', expected_status_code=[404])
            this.set_output('accepted', accepted.get('status'))
            status = this.task(
                'REST', url=base + '/missing', wait=system.return_when.ALL_ENDED,
            ).load('status')
            this.set_output('status', status)
            return this.success('all done')
        """,
        {"base": "BASE"},
        {"status_code": 404, "accepted": "ENDED_SUCCESS", "status": "ENDED_ERROR"},
        "all done",
    ),
    Script(
        "progress in the message",
        """
        def handler(system, this):
            items = this.get('input_value')['json']['items']
            results = {}
            for index, item in enumerate(items):
                this.save(message=f'{index + 1} of {len(items)}')
                results[item] = len(item)
                this.save(output_value={'results': results})
            this.set(name='counted')
            this.end('success', message=f'{len(items)} items')
        """,
        {"items": ["apple", "fig"]},
        {"results": {"apple": 5, "fig": 3}},
        "2 items",
    ),
    Script(
        "what is next month",
        """
        import datetime
        import textwrap

        def handler(system, this):
            day = datetime.date(2020, 1, 31)
            first = (day.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)
            this.set_output('next', first)
            this.set_output('text', textwrap.dedent(f'''
                ### Hi {system.get_own_user().get('name')}
                you are with {system.get_own_client().get('name')}, {first:%B %Y}
                ''').strip())
            return this.success('all done')
        """,
        None,
        {"next": "2020-02-01", "text": "### Hi kevin\nyou are with acme, February 2020"},
        "all done",
    ),
    Script(
        "the errors by their module",
        """
        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            branches = ['feature', 'develop', 'master']
            for branch in branches:
                try:
                    number = this.flow('odd', number=len(branch)).get('output_value')['result']
                except flow_api.exceptions.DependencyFailedError:
                    number = None
                    if branch == branches[-1]:
                        raise
                else:
                    break
            this.set_output('used', [branch, number])
            return this.success('all done')
        """,
        None,
        {"used": ["master", 3]},
        "all done",
        others={"odd": FAILS_ON_ODD},
    ),
    Script(
        "a hook is made where there is none",
        """
        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            base = this.get('input_value')['json']['base']
            client_name = system.get_own_client().get('name')
            # the answer's names may be written in any case
            info = this.task('REST', url=f'{base}/untyped', headers={'Authorization': 'token secret'})
            known = info.get('output_value')['json']
            if client_name not in known:
                made = this.task(
                    'REST',
                    url=f'{base}/hooks',
                    method='POST',
                    data={
                        'events': ['push'],
                        'config': {'url': f'/api/latest/webhook/{client_name}/sync?key=k', 'content_type': 'json'},
                    },
                    headers={'X-Extra': 'token'},
                ).get('output_value')
                this.set_output('sent', made['json']['type'])
                this.set_output('events', 'push' in made['json']['body'])
                this.set_output('answered', made['headers']['Content-Type'])
            return this.success('all done')
        """,
        {"base": "BASE"},
        {"sent": "application/json", "events": True, "answered": "application/json"},
        "all done",
    ),
    Script(
        "files as they came from a repository",
        """
        import base64
        import os
        import yaml

        import flow_api

        FILES = [
            {'name': 'demo/settings/geo.yaml', 'content': 'dXNlcjogZGVtbwo='},
            {'name': 'demo/files/logo.svg', 'content': 'PHN2Zy8+'},
            {'name': 'demo/README.md', 'content': ''},
        ]

        def handler(system: flow_api.System, this: flow_api.Execution):
            for file_ in FILES:
                path, filename = os.path.split(file_['name'])
                name, ext = os.path.splitext(filename)
                text = base64.b64decode(file_['content']).decode()
                if 'settings' in path and ext == '.yaml':
                    system.setting(f'repo.{name}').save(value=yaml.safe_load(text))
                elif 'files' in path:
                    system.file(path=f'synced/{filename}', content=text)
            names = [file.get('name') for file in system.files(dir='synced', glob='**/*.svg')]
            this.set_output('names', names + [file.get('name') for file in system.files('synced')])
            this.set_output('setting', system.setting('repo.geo').get('value'))
            for file in system.files(dir='synced'):
                file.delete()
            this.set_output('left', len(system.files(dir='.', glob='synced/*')))
            return this.success('all done')
        """,
        None,
        {"names": ["synced/logo.svg"] * 2, "setting": {"user": "demo"}, "left": 0},
        "all done",
    ),
    Script(
        "the same flow again and again",
        """
        import time
        from datetime import datetime, timezone

        def handler(system, this):
            inputs = this.get('input_value')['json']
            flow_name = inputs['flow_name']
            interval = float(inputs.get('interval', 60))
            max_iterations = int(inputs.get('max_iterations', 1))
            start = time.time()
            iterations = 0
            while True:
                iterations += 1
                this.log(f'iteration #{iterations}')
                child = this.flow(
                    flow_name,
                    inputs={'number': iterations},
                    name=f'{flow_name} iteration #{iterations}',
                    run=False,
                )
                child.run_async()
                if max_iterations != 0 and iterations >= max_iterations:
                    break
                scheduled = datetime.fromtimestamp(start + iterations * interval, timezone.utc)
                this.save(message=scheduled.isoformat(sep=' ', timespec='minutes'))
                this.sleep_until(start + (iterations * interval))
            child.wait()
            this.set_output('last', child.get('name', 'output_value'))
            return this.success(f'started {iterations} iterations')
        """,
        {"flow_name": "loop child", "interval": "0.02", "max_iterations": "3"},
        {"last": ["loop child iteration #3", {"square": 9}]},
        "started 3 iterations",
        others={"loop child": LOOP_CHILD},
    ),
    Script(
        "a check that keeps its history",
        """
        import datetime
        import uuid

        def handler(system, this):
            check_id = str(uuid.uuid4())
            report = {'check_id': check_id, 'env': system.get_env_name()}
            if not system.setting('availability.history').exists():
                system.setting('availability.history').save(value=[])
            base = this.get('input_value')['json']['base']
            check = this.task(
                'REST', url=f'{base}/missing', name='availability', run=True, wait=system.return_when.ALL_ENDED,
            )
            status, message = check.load('status', 'message')
            report.update({'check': (status, message)})
            again = system.execution(check.get('id'))
            again.wait(return_when=system.return_when.ALL_ENDED)
            report['same'] = again.load('status', 'message') == (status, message)
            created = datetime.datetime.strptime(again.get('created_at'), '%Y-%m-%dT%H:%M:%S.%f%z')
            report['fresh'] = abs(datetime.datetime.now(datetime.timezone.utc) - created).total_seconds() < 3600
            system.setting('availability.history').list_append(report)
            last = system.setting('availability.history').get('value')[-1]
            this.set_output(ours=last['check_id'] == check_id, same=last['same'], fresh=last['fresh'])
            if status != 'ENDED_SUCCESS':
                return this.error(f'task did not succeed: {message}')
            return this.success('all done')
        """,
        {"base": "BASE"},
        {"ours": True, "same": True, "fresh": True},
        "task did not succeed: GET",
        "ENDED_ERROR",
    ),
    Script(
        "cleans up whatever happens",
        """
        def handler(system, this):
            try:
                this.save(message='waiting for the lock')
                system.setting('cleanup').acquire(timeout=None)
                this.save(message='working')
                this.flow('odd', number=1)
            except Exception as ex:
                this.save(message=repr(ex))
                raise
            finally:
                system.setting('cleanup').release()
                this.set_output('cleaned up, nothing found')
            return this.success('all done')
        """,
        None,
        "cleaned up, nothing found",
        "the child execution 'odd'",
        "ENDED_ERROR",
        {"odd": FAILS_ON_ODD},
    ),
    Script(
        "waits until something is ready",
        """
        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            system.setting('machine').save(value=0)
            for attempt in range(60):
                try:
                    machine = this.flow('look for it', name=f'find, attempt {attempt}').get('output_value')
                except flow_api.DependencyFailedError:
                    this.sleep(0.01)
                    continue
                if len(machine.get('items', [])) != 0:
                    break
                this.sleep(0.01)
            else:
                return this.error('did not find it within 60 tries')
            address = machine['items'][0]['interfaces'][0]['address']
            this.set_output(address=address, attempt=attempt)
            return this.success(message=f'{address} is ready')
        """,
        None,
        {"address": "192.0.2.7", "attempt": 2},
        "192.0.2.7 is ready",
        others={
            "look for it": """
                def handler(system, this):
                    looked = system.setting('machine').get('value') + 1
                    system.setting('machine').save(value=looked)
                    if looked == 1:
                        raise Exception('not there yet')
                    items = [{'interfaces': [{'address': '192.0.2.7'}]}] if looked == 3 else []
                    this.save(output_value={'items': items})
                    return this.success('all done')
            """
        },
    ),
    Script(
        "a page with a list of things to do",
        """
        import html
        import uuid

        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            store = system.setting('todo-page')
            try:
                todos = store.get('value')
            except flow_api.ResourceNotFoundError:
                todos = []
            inputs = this.get('input_value')
            method, query = inputs['method'], inputs['query']
            if method == 'POST':
                json = inputs['json']
                if json.get('todo-new'):
                    todos.append({'id': str(uuid.uuid4()), 'label': json['todo-new'], 'done': False})
                todo_done = json.get('todo-done')
                todos = [{**todo, 'done': not todo.get('done', False)} if todo['label'] == todo_done else todo
                         for todo in todos]
            store.save(value=todos)
            page = ''.join(f"<li>{html.escape(todo['label'])} {todo['done']}</li>" for todo in todos)
            if not query.get('html'):
                this.set_output('page', page)
                return this.success(f'{len(todos)} TODOs')
            return this.webhook_html_response(f'<ul>{page}</ul>')
        """,
        {"todo-new": "water & feed", "todo-done": "water & feed"},
        {"page": "<li>water &amp; feed True</li>"},
        "1 TODOs",
    ),
    Script(
        "what this platform lacks is named",
        """
        def handler(system, this):
            missing = []
            for call in (
                lambda: this.task('SMTP', inputs={'to': 'x'}),
                lambda: this.task('INPUT', request='how many?').run_async(),
                lambda: this.connect('gcloud', api_name='compute'),
                lambda: system.message(subject='Hello', body={}),
                lambda: system.connection('ssh').save(value={}),
                lambda: this.script('def handler(system, this): pass'),
                lambda: system.flow('hello').save(script=''),
            ):
                try:
                    call()
                except Exception as ex:
                    missing.append(str(ex).split(' is not available')[0])
            this.set_output('missing', missing)
            return this.success('all done')
        """,
        None,
        {
            "missing": [
                "this.task: 'SMTP'", "this.task: 'INPUT'", "this.connect: 'gcloud'", "system.message",
                "system.connection", "this.script", "flow.save",
            ]
        },
        "all done",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """The URL of a small server, which stands for what is out there."""
    with serve_outside() as url:
        yield url


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, outside: str) -> Iterator[RunningDaemon]:
    project = Project(tmp_path_factory.mktemp("platform"))
    everything = {"read": ["*"], "write": ["*"]}
    project.users(
        "acme",
        {
            "kevin": {
                "flows": ["*"],
                "settings": everything,
                "files": everything,
                "connections": {"REST": [f"{outside}/*"]},
            }
        },
    )
    for script in SCRIPTS:
        project.endpoint(script.name.replace(" ", "-"), dedent(script.source), flow_name=script.name)
        for name, source in script.others.items():
            project.flow("acme", name, dedent(source))
    with running(project) as daemon:
        yield daemon


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_flow_in_the_published_style(platform: RunningDaemon, outside: str, script: Script) -> None:
    path = f"/api/webhook/acme/{script.name.replace(' ', '-')}"
    payload = json.loads(json.dumps(script.payload).replace("BASE", outside))
    record = platform.post(path, payload).json
    assert record["status"] == script.status, record["message"]
    assert record["output_value"] == script.output
    assert script.message in record["message"]
    assert bool(script.message) == bool(record["message"])


def test_there_are_at_least_thirty() -> None:
    assert len(SCRIPTS) >= 30
    assert len({script.name for script in SCRIPTS}) == len(SCRIPTS)
