"""this.flow, this.task and what hangs on a child, as calls to the daemon (FLOW_API.md): a small one answers here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .far_side import Ended
from .test_flow_api import flow

SUCCESS, ERROR, CANCELLED = "ENDED_SUCCESS", "ENDED_ERROR", "ENDED_CANCELLED"


class SmallDaemon:
    """Answers calls on children. How each child ends stands in its inputs: end, message; every child ends at once."""

    def __init__(self) -> None:
        self.children: dict[str, dict[str, Any]] = {}
        self.looks = 0
        self.answers: dict[str, Any] = {
            "child.start": self.start,
            "task.start": self.start,
            "child.wait": self.wait,
            "execution.get": self.get,
        }

    def start(self, given: Any) -> Any:
        name = given.get("flow") or given["connector"]
        if name == "forbidden":
            return "PermissionDenied", "user kevin may not run the flow forbidden"
        child_id = f"c{len(self.children) + 1}"
        inputs = given["inputs"]
        self.children[child_id] = {
            "name": given["name"] or name,
            "status": inputs.get("end", SUCCESS) if isinstance(inputs, dict) else SUCCESS,
            "message": inputs.get("message", "") if isinstance(inputs, dict) else "",
            "output_value": {"got": inputs},
            "type": "FLOW" if "flow" in given else "TASK",
        }
        return {"id": child_id}

    def wait(self, given: Any) -> Any:
        unknown = [child_id for child_id in given["ids"] if child_id not in self.children]
        if unknown:
            return "ResourceNotFoundError", f"execution {unknown[0]!r} is no child of this one"
        ended = {
            child_id: {name: self.children[child_id][name] for name in ("name", "status", "message")}
            for child_id in given["ids"]
        }
        if given["return_when"] == "FIRST_ENDED":
            return dict(list(ended.items())[:1])
        failed = {child_id: end for child_id, end in ended.items() if end["status"] != SUCCESS}
        return failed if failed and given["return_when"] == "ALL_SUCCEEDED" else ended

    def get(self, given: Any) -> Any:
        if given["id"] == "elsewhere":
            # An execution that is no child of this one: it ends while it is looked at.
            self.looks += 1
            record = {"status": "RUNNING" if self.looks < 3 else ERROR, "message": "lost", "name": "other"}
        else:
            record = self.children[given["id"]]
        return {field: record.get(field) for field in given["fields"]}


def run(run_flow: Callable[..., Ended], body: str) -> Ended:
    return run_flow(flow(body), answers=SmallDaemon().answers)


def names(ended: Ended) -> list[str]:
    return [name for name, _arguments in ended.calls]


START, WAIT, GET = "child.start", "child.wait", "execution.get"

STYLES = [
    ("the plain call waits", "c = this.flow('child', a=1)", [START, WAIT]),
    ("run() of a child that ran is harmless", "c = this.flow('child', a=1).run()", [START, WAIT]),
    ("run() twice", "c = this.flow('child', a=1)\nc.run()\nc.run()", [START, WAIT]),
    ("run=False, then run()", "c = this.flow('child', a=1, run=False)\nc.run()", [START, WAIT]),
    ("run=False, then run_async()", "c = this.flow('child', a=1, run=False)\nc.run_async()", [START]),
    ("run=False, then wait()", "c = this.flow('child', a=1, run=False)\nc.wait()", [START, WAIT]),
    ("run=False and never more", "c = this.flow('child', a=1, run=False)", []),
    ("wait=False", "c = this.flow('child', a=1, wait=False)", [START]),
    ("wait=False, then wait()", "c = this.flow('child', a=1, wait=False)\nc.wait()", [START, WAIT]),
    ("run_async() at once does not wait", "c = this.flow('child', a=1).run_async()", [START]),
    ("run_async() at once, then wait()", "c = this.flow('child', a=1).run_async().wait()", [START, WAIT]),
    ("run_async() at once, over several lines", "c = this.flow(\n    'child',\n    a=1,\n).run_async()", [START]),
    ("run_async() at once of run=False", "c = this.flow('child', a=1, run=False).run_async()", [START]),
    ("run_async() at once, told to wait", "c = this.flow('child', a=1, wait=True).run_async()", [START, WAIT]),
    ("run() in a later statement", "c = this.flow('child', a=1)\nthis.log(c.get('status'))\nc.run()", [START, WAIT]),
    ("run_async() in a later statement", "c = this.flow('child', a=1)\nc.run_async()", [START]),
    ("run_async() later, and wait", "c = this.flow('child', a=1)\nc.run_async()\nc.wait()", [START, WAIT]),
    (
        "run_async() later of what is told to wait",
        "c = this.flow('child', a=1, wait=True)\nc.run_async()",
        [START, WAIT],
    ),
    ("run() later of what is told to run", "c = this.flow('child', a=1, **{'run': True})\nc.run()", [START, WAIT]),
    ("its output read before run()", "c = this.flow('child', a=1)\nc.get('output_value')\nc.run()", [START, WAIT, GET]),
    ("its id read before run()", "c = this.flow('child', a=1)\nc.get('id')\nc.run()", [START, WAIT]),
    ("run() later, but not this time", "c = this.flow('child', a=1)\nif c is None:\n    c.run()", []),
    ("wait_for before run()", "c = this.flow('child', a=1)\nthis.wait_for(c)\nc.run()", [START, WAIT]),
    ("wait with a condition", "c = this.flow('child', a=1, wait=system.return_when.ALL_ENDED)", [START, WAIT]),
    ("wait_for starts what was not started", "c = this.flow('child', a=1, run=False)\nthis.wait_for(c)", [START, WAIT]),
    ("the name by keyword", "c = this.flow(flow_name='child', input_value={'a': 1}).run()", [START, WAIT]),
    ("inputs by position", "c = this.flow('child', {'a': 1})", [START, WAIT]),
    ("inputs by keyword", "c = this.flow('child', inputs={'a': 1})", [START, WAIT]),
    ("input_value by keyword", "c = this.flow('child', input_value={'a': 1})", [START, WAIT]),
    ("the flow's method by another name", "f = this.flow\nc = f('child', a=1)", [START, WAIT]),
]


@pytest.mark.parametrize(("body", "calls"), [style[1:] for style in STYLES], ids=[style[0] for style in STYLES])
def test_children_in_every_style(run_flow: Callable[..., Ended], body: str, calls: list[str]) -> None:
    ended = run(run_flow, body)
    assert ended.status == SUCCESS, ended.message
    assert names(ended) == calls
    if START in calls:
        assert ended.calls[0][1] == {"flow": "child", "inputs": {"a": 1}, "name": None}
    if WAIT in calls:
        ids, when = ended.calls[1][1].values()
        assert ids == ["c1"]
        assert when == ("ALL_ENDED" if "ALL_ENDED" in body else "ALL_SUCCEEDED")


@pytest.mark.parametrize(
    ("arguments", "inputs", "name"),
    [
        ("'child'", {}, None),
        ("'child', {'a': 1}, b=2", {"a": 1, "b": 2}, None),
        ("'child', {'a': 1, 'b': 1}, input_value={'b': 0, 'c': 0}, b=2", {"a": 1, "b": 2, "c": 0}, None),
        ("'child', [1, 2]", [1, 2], None),
        ("'child', 'text'", "text", None),
        ("'child', 0", 0, None),
        ("'child', name='my child', flow_name='an input', self=1", {"flow_name": "an input", "self": 1}, "my child"),
        ("'child', this.get('input_value')", {"json": 1}, None),
        ("'child', n={1: {2}, 'd': __import__ if False else (1, 2)}", {"n": {"1": [2], "d": [1, 2]}}, None),
    ],
)
def test_what_is_no_option_is_an_input(
    run_flow: Callable[..., Ended], arguments: str, inputs: Any, name: str | None
) -> None:
    body = f"this.flow({arguments}, wait=False)".replace("__import__ if False else ", "")
    ended = run_flow(flow(body), {"json": 1}, answers=SmallDaemon().answers)
    assert ended.status == SUCCESS, ended.message
    assert ended.calls == [(START, {"flow": "child", "inputs": inputs, "name": name})]


def test_tasks_are_children_too(run_flow: Callable[..., Ended]) -> None:
    body = """
    a = this.task('REST', {'url': 'https://a'}, method='post', json={'x': 1}, name='call')
    b = this.connect(url='https://b')
    c = this.connect('REST', inputs={'url': 'https://c'}, run=False)
    d = this.connect(connector_type='REST', url='https://d', data=b'text', wait=False)
    e = this.task('REST', url='https://e').run_async()
    f = this.connect(url='https://f').run_async()
    h = this.task(connector_type='REST', url='https://h', wait=False)
    g = this.flow('child', wait=False)
    this.wait_for([a, b, c, d, e, f, g, h])
    this.set_output([x.get('type') for x in (a, c, g)])
    """
    ended = run(run_flow, body)
    started = [arguments for name, arguments in ended.calls if name == "task.start"]
    assert [(given["connector"], given["inputs"], given["name"]) for given in started] == [
        ("REST", {"url": "https://a", "method": "post", "json": {"x": 1}}, "call"),
        ("REST", {"url": "https://b"}, None),
        ("REST", {"url": "https://d", "data": "text"}, None),
        ("REST", {"url": "https://e"}, None),
        ("REST", {"url": "https://f"}, None),
        ("REST", {"url": "https://h"}, None),
        ("REST", {"url": "https://c"}, None),
    ]
    waits = [arguments["ids"] for name, arguments in ended.calls if name == WAIT]
    # The last is that of wait_for: what has ended is not asked for again.
    assert waits == [["c1"], ["c2"], ["c8", "c3", "c4", "c5", "c7", "c6"]]
    assert ended.output == ["TASK", "TASK", "FLOW"]


def test_fields_of_a_child(run_flow: Callable[..., Ended]) -> None:
    body = """
    c = this.flow('child', a=1, run=False, name='kid')
    this.set_output('before', c.get('id', 'status', 'name', 'type', 'message', 'flow_name', 'user_name', 'input_value',
                                    'output_value', 'created_at'))
    c.run()
    this.set_output('result', c.get('output_value')['got'])
    this.set_output('again', c.get('output_value')['got'])
    this.set_output('several', c.get('id', 'status', 'message'))
    this.set_output('loaded', c.load('status'))
    """
    ended = run(run_flow, body)
    assert ended.output == {
        "before": [None, "PENDING", "kid", "FLOW", "", "child", "kevin", {"a": 1}, None, None],
        "result": {"a": 1},
        "again": {"a": 1},
        "several": ["c1", SUCCESS, ""],
        "loaded": SUCCESS,
    }
    # What an ended execution was is asked once; load asks again.
    assert ended.calls[2:] == [
        ("execution.get", {"id": "c1", "fields": ["output_value"]}),
        ("execution.get", {"id": "c1", "fields": ["status"]}),
    ]


def test_fields_of_a_child_that_runs_are_asked_each_time(run_flow: Callable[..., Ended]) -> None:
    ended = run(run_flow, "c = this.flow('child', end='RUNNING', wait=False)\nfor n in range(3):\n    c.get('status')")
    assert names(ended) == [START] + ["execution.get"] * 3


# ---- waiting and failing ---------------------------------------------------------------------------------------------


def test_wait_for_takes_executions_or_one_list_of_them(run_flow: Callable[..., Ended]) -> None:
    body = """
    a, b = (this.flow('child', n=n, wait=False) for n in range(2))
    counts = [len(this.wait_for(a, b)), len(this.wait_for([a, b])), len(this.wait_for((a, a))), len(this.wait_for()),
              len(this.wait_for([])), len(this.wait_for(c for c in [a, b])), len(this.wait_for({a}))]
    this.set_output(counts)
    """
    ended = run(run_flow, body)
    assert ended.output == [2, 2, 1, 0, 0, 2, 1]
    # What has ended needs no further call.
    assert names(ended) == [START, START, WAIT]


def test_first_ended_tells_which(run_flow: Callable[..., Ended]) -> None:
    body = """
    waiting = [this.flow('child', n=n, wait=False) for n in range(3)]
    order = []
    while waiting:
        for child in this.wait_for(*waiting, return_when=system.return_when.FIRST_ENDED):
            order.append(child.get('output_value')['got']['n'])
            waiting.remove(child)
    this.set_output(order)
    """
    assert run(run_flow, body).output == [0, 1, 2]


FAILURES = [
    ("the plain call", "this.flow('child', end='ENDED_ERROR', message='broken')"),
    ("run()", "this.flow('child', end='ENDED_ERROR', message='broken', run=False).run()"),
    ("wait()", "this.flow('child', end='ENDED_ERROR', message='broken', wait=False).wait()"),
    ("run_async() and wait_for", "this.wait_for(this.flow('child', end='ENDED_ERROR', message='broken').run_async())"),
    (
        "FIRST_ENDED",
        "c = this.flow('child', end='ENDED_ERROR', message='broken', wait=False)\n"
        "this.wait_for(c, return_when=system.return_when.FIRST_ENDED)",
    ),
]


@pytest.mark.parametrize("body", [case[1] for case in FAILURES], ids=[case[0] for case in FAILURES])
def test_a_failed_child_fails_its_parent(run_flow: Callable[..., Ended], body: str) -> None:
    ended = run(run_flow, body)
    assert ended.status == ERROR
    last = ended.message.splitlines()[-1]
    assert last == "flow_api.DependencyFailedError: the child execution 'child' (c1) ended with ENDED_ERROR: broken"


def test_the_error_tells_of_the_child(run_flow: Callable[..., Ended]) -> None:
    body = """
    a = this.flow('a', wait=False)
    b = this.flow('b', end='ENDED_ERROR', message='one', wait=False)
    c = this.flow('c', end='ENDED_CANCELLED', message='two', wait=False, name='third')
    try:
        this.wait_for(a, b, c)
    except flow_api.DependencyFailedError as error:
        this.set_output(
            text=str(error), same=error.execution is b, all=[e.get('message') for e in error.executions],
            is_api=isinstance(error, flow_api.CloudomationException),
        )
    """
    assert run(run_flow, body).output == {
        "text": "the child execution 'b' (c2) ended with ENDED_ERROR (and 1 more failed): one",
        "same": True,
        "all": ["one", "two"],
        "is_api": True,
    }


ENDED_ANYHOW = [
    "this.flow('child', end='ENDED_ERROR', wait=system.return_when.ALL_ENDED)",
    "this.flow('child', end='ENDED_ERROR', wait=False).wait(return_when=system.return_when.ALL_ENDED)",
    "a, b = this.flow('c', end='ENDED_CANCELLED', wait=False), this.flow('c', wait=False)\n"
    "this.wait_for(a, b, return_when='ALL_ENDED')",
    "this.flow('child', end='ENDED_ERROR', wait=system.return_when.ALL_ENDED).run()",
]


@pytest.mark.parametrize("body", ENDED_ANYHOW)
def test_all_ended_never_raises(run_flow: Callable[..., Ended], body: str) -> None:
    ended = run(run_flow, body)
    assert ended.status == SUCCESS, ended.message


def test_a_long_message_of_a_child_is_cut_in_the_middle(run_flow: Callable[..., Ended]) -> None:
    ended = run(run_flow, "this.flow('child', end='ENDED_ERROR', message='a' * 50_000 + 'the end')")
    assert len(ended.message) < 5_000
    assert ended.message.endswith("the end")


def test_a_refused_child_can_be_caught(run_flow: Callable[..., Ended]) -> None:
    body = """
    try:
        this.flow('forbidden')
    except flow_api.PermissionDenied as error:
        this.set_output('text', str(error))
    """
    assert run(run_flow, body).output == {"text": "user kevin may not run the flow forbidden"}


def test_cancel(run_flow: Callable[..., Ended]) -> None:
    ended = run(run_flow, "c = this.flow('child', wait=False)\nc.cancel()\nsystem.execution('c9').cancel()")
    assert ended.calls[1:] == [("execution.cancel", {"id": "c1"}), ("execution.cancel", {"id": "c9"})]


def test_an_execution_that_is_no_child_is_asked_until_it_ended(run_flow: Callable[..., Ended]) -> None:
    body = """
    other = system.execution('elsewhere')
    child = this.flow('child', wait=False)
    this.wait_for(other, child, return_when=system.return_when.ALL_ENDED)
    this.set_output(other.get('status', 'message'))
    other.wait()
    """
    ended = run(run_flow, body)
    assert ended.output == [ERROR, "lost"]
    assert names(ended).count("sleep") == 2
    assert "the execution 'execution' (elsewhere) ended with ENDED_ERROR: lost" in ended.message


def test_save_tells_how_it_stands(run_flow: Callable[..., Ended]) -> None:
    body = """
    this.set_output('a', 1)
    this.save(message='half way')
    this.save(output_value={'b': 2}, name='order 7')
    this.set_output('c', 3)
    this.save()
    this.save(output_value={'large': 'x' * 1_100_000}, message='large')
    this.save(output_value={'small': {1}})
    """
    ended = run_flow(flow(body), max_output_bytes=2_000_000)
    assert ended.calls == [
        ("execution.save", {"message": "half way"}),
        ("execution.save", {"output_value": {"b": 2}, "name": "order 7"}),
        ("execution.save", {"output_value": {"b": 2, "c": 3}, "message": "half way", "name": "order 7"}),
        ("execution.save", {"message": "large"}),
        ("execution.save", {"output_value": {"small": [1]}}),
    ]
    assert (ended.output, ended.message, ended.head["name"]) == ({"small": [1]}, "large", "order 7")


WRONG = [
    ("this.flow()", "MissingInputError: this.flow needs the flow's name: this.flow('name')"),
    ("this.flow(5)", "InvalidInputError: this.flow: a flow's name must be text, not 5"),
    ("this.flow('')", "this.flow: a flow's name must be text, not ''"),
    ("this.flow(this)", "this.flow: a flow's name must be text, not an Execution"),
    ("this.flow('x', name=5)", "this.flow: name must be text, not 5"),
    ("this.flow('x', run='yes')", "this.flow: run must be True or False, not 'yes'"),
    ("this.flow('x', wait='yes')", "must be one of system.return_when.ALL_SUCCEEDED, system.return_when.ALL_ENDED"),
    ("this.flow('x', [1], a=1)", "this.flow: inputs must be a dict where more inputs are given beside it, not a list"),
    ("this.flow('x', a=object())", "this.flow: inputs['a'] is an object, which has no JSON form"),
    ("this.flow('x', a=float('nan'))", "this.flow: inputs['a'] is nan"),
    ("this.flow('x', a='y' * 1_100_000)", "this.flow: 1100008 bytes are too many at once; max_output_bytes"),
    ("this.flow('x', a=this.flow('y', run=False))", "this.flow: inputs['a'] is an Execution, which has no JSON form"),
    ("this.task()", "MissingInputError: this.task needs the type of the task: this.task('REST', url=…)"),
    ("this.task('rest')", "this.task: 'rest' is not available in whd; there is: REST"),
    ("this.task('REST', 'https://a')", "this.task: inputs must be a dict, not 'https://a'"),
    ("this.task('REST', url='x', data=b'\\xff')", "this.task: data must be text, or bytes in UTF-8"),
    ("this.wait_for('abc')", "this.wait_for takes executions, as this.flow and this.task give them"),
    ("this.wait_for([1])", "or one list of them, not 1"),
    ("this.wait_for(7)", "or one list of them, not 7"),
    ("this.wait_for(this)", "or one list of them, not an Execution"),
    ("this.wait_for(return_when='SOON')", "this.wait_for: return_when must be one of system.return_when.ALL_SUCCEEDED"),
    ("this.flow('x', wait=False).wait(5)", "wait: return_when must be one of"),
    ("this.flow('x', wait=False).get('nope')", "an execution has no field 'nope'; it has: id, name, type, status"),
    ("this.flow('x', wait=False).get([])", "an execution has no field a list"),
    ("this.flow('x', run=False).cancel()", "cancel: 'x' has not been started"),
    ("this.flow('x', wait=False).nope", "Execution has no 'nope'; it has: cancel, get, load, run, run_async, wait"),
    ("system.execution(this.get('id')).wait()", "an execution cannot wait for itself"),
    ("system.execution(7)", "system.execution: an execution's id must be text, not 7"),
    ("this.save(status='x')", "the field 'status' cannot be set; message, name, output_value can"),
    ("this.save(output_value={'a': object()})", "this.save: output_value['a'] is an object"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "words"), WRONG, ids=[case[0][:50] for case in WRONG])
def test_a_wrong_argument_says_what_is_right(run_flow: Callable[..., Ended], body: str, words: str) -> None:
    ended = run(run_flow, body)
    assert ended.status == ERROR
    assert words in ended.message


# ---- nothing leaks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("getattr(c, '_run')", "AttributeError"),
        ("getattr(c, '_known')", "AttributeError"),
        ("'{0._run}'.format(c)", "AttributeError"),
        ("c.get = print", "TypeError"),
        ("c.extra = 1", "TypeError"),
        ("setattr(type(c), 'get', print)", "TypeError"),
        ("type(c)()", "TypeError"),
        ("class C(type(c)): pass", "TypeError"),
        ("class C(type(system.setting('x'))): pass", "TypeError"),
        ("class C(type(this)): pass", "TypeError"),
        ("import copy\ncopy.copy(c).run().x", "AttributeError"),
        ("flow_api.DependencyFailedError.execution = 1", "TypeError"),
        ("super(type(c), c).__init__()", "TypeError"),
        ("import calendar\ncalendar.Calendar.setfirstweekday(type(c), 1)", "TypeError"),
        ("import calendar\ncalendar.Calendar.setfirstweekday(type(system.file('x')), 1)", "TypeError"),
        ("import calendar\ncalendar.Calendar.setfirstweekday(c, 1)", "TypeError"),
        ("import functools\nfunctools.update_wrapper(this.flow, print)", "TypeError"),
        ("getattr(this.flow, '__func__')", "AttributeError"),
        ("getattr(c.run, '__self__')", "AttributeError"),
    ],
)
def test_children_are_as_closed_as_the_rest(run_flow: Callable[..., Ended], body: str, error: str) -> None:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    caught = "except Exception as caught:\n    this.set_output('error', repr(caught))"
    ended = run(run_flow, f"c = this.flow('child')\ntry:\n{lines}\n{caught}")
    assert ended.output["error"].startswith(error), ended.output


def test_own_classes_with_such_methods_are_left_alone(run_flow: Callable[..., Ended]) -> None:
    body = """
    class Runner:
        def __init__(self): self.calls = []
        def flow(self, *args, **more):
            self.calls.append([list(args), more])
            return self
        def run_async(self): return self
    runner = Runner()
    runner.flow('x', a=1).run_async().flow('y').run_async()
    this.set_output(runner.calls)
    """
    assert run(run_flow, body).output == [[["x"], {"a": 1}], [["y"], {}]]


def test_an_input_that_calls_while_it_is_written_does_not_mix_up_the_answers(run_flow: Callable[..., Ended]) -> None:
    body = """
    class Lazy(dict):
        def items(self):
            this.flow('inner', wait=False)
            return [('a', 1)]
    lazy = Lazy(b=2)
    child = this.flow('outer', {'lazy': lazy}, wait=False)
    this.set_output(child.get('id'))
    """
    ended = run(run_flow, body)
    assert ended.status == SUCCESS, ended.message
    assert ended.calls[-1][1]["flow"] == "outer"
    assert ended.output == f"c{len(ended.calls)}"


# ---- what is not written down ----------------------------------------------------------------------------------------

HEADERS = {"Authorization": "Bearer t", "X-API-Key": "k", "Accept": "*"}
PROTECTED = [
    ("protect_inputs", "this.flow('c', password='x y', user='u', protect_inputs=['password'])", ['"x y"']),
    ("one name", "this.flow('c', password='x y', protect_inputs='password')", ['"x y"']),
    ("in init", "this.flow('c', {'password': 'x y'}, init={'protect_inputs': ['password']})", ['"x y"']),
    ("a dict", "this.flow('c', a={'b': [1]}, protect_inputs=('a',))", ['{"b":[1]}']),
    ("several", "this.flow('c', a=1, b='\\u20ac', c=3, protect_inputs={'c', 'b'})", ['"€"', "3"]),
    ("one named twice", "this.flow('c', a=1, protect_inputs=['a', 'a'])", ["1"]),
    ("one that is not there", "this.flow('c', a=1, protect_inputs=['none'])", []),
    ("headers that prove", f"this.flow('c', headers={HEADERS})", ['"Bearer t"', '"k"']),
    ("headers within", "this.flow('c', this.get('input_value'))", ['"c=d"']),
    ("headers by another name", "this.flow('c', h=this.get('input_value')['headers'])", ['"c=d"']),
    ("all of the headers", f"this.flow('c', headers={HEADERS}, protect_inputs=['headers'])",
     ['{"Authorization":"Bearer t","X-API-Key":"k","Accept":"*"}']),
    ("nothing to protect", "this.flow('c', a=1, headers={'Accept': '*'})", []),
    ("no dict", "this.flow('c', [1, 2], protect_inputs=['password'])", []),
]  # fmt: skip
WITH_COOKIE = {"method": "GET", "path": "/", "query": {}, "headers": {"cookie": "c=d", "accept": "*"}}


@pytest.mark.parametrize(("body", "parts"), [case[1:] for case in PROTECTED], ids=[case[0] for case in PROTECTED])
def test_the_daemon_learns_where_protected_parts_stand(
    run_flow: Callable[..., Ended], body: str, parts: list[str]
) -> None:
    ended = run_flow(flow(body), WITH_COOKIE, answers=SmallDaemon().answers)
    assert ended.status == SUCCESS, ended.message
    given = ended.calls[0][1]
    text = ended.raw[0]
    assert [text[start : start + size].decode() for start, size, _is_value in given.get("masked", [])] == parts
    assert all(is_value is ("protect_inputs" in body) for _start, _size, is_value in given.get("masked", []))
    assert "protect_inputs" not in given["inputs"]


REFUSED_OPTIONS = [
    ("this.flow('c', save=True)", "this.flow: save= is not available in whd: every execution is kept"),
    ("this.task('REST', url='u', location='eu')", "this.task: location= is not available in whd: every execution runs"),
    ("this.flow('c', pass_user_token=True)", "a child runs as its parent's user by itself; leave it out"),
    ("this.flow('c', init={'save': False})", "save= is not available in whd"),
    ("this.flow('c', init={'retries': 1})", "init takes name, protect_inputs and protect_outputs, not 'retries'"),
    ("this.flow('c', init='x')", "init must be a dict such as"),
    ("this.flow('c', protect_inputs=True)", "protect_inputs must be a list of names, not True"),
    ("this.connect(url='u', protect_outputs=[1])", "this.connect: protect_outputs: a name must be text, not 1"),
]


@pytest.mark.parametrize(("body", "words"), REFUSED_OPTIONS, ids=[case[0] for case in REFUSED_OPTIONS])
def test_an_option_that_whd_has_no_use_for_is_refused_with_a_hint(
    run_flow: Callable[..., Ended], body: str, words: str
) -> None:
    ended = run(run_flow, body)
    assert (ended.status, ended.calls) == (ERROR, [])
    assert words in ended.message


def test_an_input_may_have_the_name_of_such_an_option(run_flow: Callable[..., Ended]) -> None:
    ended = run(run_flow, "this.flow('c', inputs={'location': 'Vienna', 'init': 1}, wait=False)")
    assert ended.calls[0][1]["inputs"] == {"location": "Vienna", "init": 1}


def test_tasks_and_outputs_are_protected_by_the_daemon(run_flow: Callable[..., Ended]) -> None:
    body = """
    this.task('REST', url='u', protect_inputs=['url'], init={'protect_outputs': ['json'], 'name': 'named'})
    this.flow('c', protect_outputs=['token'])
    """
    ended = run(run_flow, body)
    starts = [given for name, given in ended.calls if name.endswith(".start")]
    assert (starts[0]["protect_inputs"], starts[0]["protect_outputs"], starts[0]["name"]) == (
        ["url"],
        ["json"],
        "named",
    )
    assert starts[1]["protect_outputs"] == ["token"]
