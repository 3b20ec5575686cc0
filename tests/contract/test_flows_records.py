"""Settings, files and outgoing calls as flows use them (FLOW_API.md), through a running daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import Project, running, wait_for

from .outside import serve_outside
from .test_flows import Caller, flow


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    with serve_outside() as url:
        yield url


@pytest.fixture(scope="module")
def own_project(tmp_path_factory: pytest.TempPathFactory, outside: str) -> Project:
    project = Project(tmp_path_factory.mktemp("records"))
    project.users(
        "acme",
        {
            "kevin": {
                "flows": ["*"],
                "settings": {"read": ["app.*", "shared"], "write": ["app.*", "client.webhook.made-*"]},
                "files": {"read": ["reports/*", "in/*"], "write": ["reports/*"]},
                "connections": {"REST": [f"{outside}/*"]},
            },
            "eve": {"flows": ["hook-*"]},
        },
    )
    project.setting("acme", "app.colour", "blue")
    project.setting("acme", "shared", [1])
    project.flow("acme", "locker", flow("""
        inputs = this.get('input_value')
        system.setting('app.lock').acquire(timeout=inputs.get('timeout'))
        this.sleep(inputs.get('s', 0))
        if inputs.get('crash'):
            return [][0]
    """))  # fmt: skip
    return project


@pytest.fixture(scope="module")
def call(own_project: Project) -> Iterator[Caller]:
    with running(own_project) as daemon:
        yield Caller(own_project, daemon)


def output(call: Caller, body: str, **fields: Any) -> Any:
    record = call(body, **fields)
    assert record["status"] == "ENDED_SUCCESS", record["message"]
    return record["output_value"]


def last_line(call: Caller, body: str, **fields: Any) -> str:
    record = call(body, **fields)
    assert record["status"] == "ENDED_ERROR"
    return str(record["message"].splitlines()[-1])


# ---- settings --------------------------------------------------------------------------------------------------------


def test_what_is_saved_stands_before_the_operators_file_until_it_is_deleted(call: Caller) -> None:
    assert output(call, """
        colour = system.setting('app.colour')
        seen = [colour.get('value')]
        colour.save(value={'r': 1})
        seen.append(system.setting('app.colour').get('value'))
        colour.delete()
        seen.append(colour.load('value'))
        this.set_output(seen)
    """) == ["blue", {"r": 1}, "blue"]  # fmt: skip


def test_what_one_flow_saved_the_next_one_reads(call: Caller) -> None:
    output(call, "system.setting('app.kept', value=[1, None, 'ü'])")
    assert output(call, "this.set_output(system.setting('app.kept').get())") == [1, None, "ü"]


def test_lists_that_many_add_to_lose_nothing(call: Caller) -> None:
    call.project.flow("acme", "adder", flow("system.setting('app.list').list_append(this.get('input_value')['n'])"))
    wait_for(lambda: output(call, "this.set_output(system.flow('adder').exists())"), "the flow")
    assert output(call, """
        system.setting('app.list').save(value=[])
        this.wait_for([this.flow('adder', n=n, wait=False) for n in range(30)])
        this.set_output(sorted(system.setting('app.list').get('value')))
    """) == list(range(30))  # fmt: skip


def test_only_what_the_user_may_read_is_listed(call: Caller) -> None:
    names = output(call, "this.set_output([setting.get('name') for setting in system.settings()])")
    assert {"app.colour", "shared"} <= set(names)
    assert not [name for name in names if name.startswith("client.webhook.")]
    assert output(call, """
        wanted = {'field': 'name', 'op': 'like', 'value': 'app.col%'}
        this.set_output([setting.get('name') for setting in system.settings(filter=wanted)])
    """) == ["app.colour"]  # fmt: skip


def test_a_saved_webhook_is_an_endpoint(call: Caller) -> None:
    call.project.flow("acme", "made", flow("this.set_output('made', True)"))
    wait_for(lambda: output(call, "this.set_output(system.flow('made').exists())"), "the flow")
    output(call, "system.setting('client.webhook.made-here').save(value={'flow_name': 'made', 'user_name': 'kevin'})")
    assert call.daemon.post("/api/webhook/acme/made-here").json["output_value"] == {"made": True}


# ---- locks -----------------------------------------------------------------------------------------------------------


def test_a_lock_that_is_held_makes_others_wait_or_give_up(call: Caller) -> None:
    assert output(call, """
        lock = system.setting('app.lock').acquire()
        waiting = this.flow('locker', wait=False)
        impatient = this.flow('locker', timeout=0.05, wait=system.return_when.ALL_ENDED)
        before = waiting.load('status')
        lock.release()
        waiting.wait()
        this.set_output(['TimeoutExceededError' in impatient.get('message'), before, waiting.get('status')])
    """) == [True, "RUNNING", "ENDED_SUCCESS"]  # fmt: skip


@pytest.mark.parametrize("end", ["crash=True", "s=0"])
def test_a_lock_ends_with_its_holder(call: Caller, end: str) -> None:
    assert output(call, f"""
        this.flow('locker', {end}, wait=system.return_when.ALL_ENDED)
        system.setting('app.lock').acquire(timeout=5)
        this.set_output('free')
    """) == "free"  # fmt: skip


# ---- files -----------------------------------------------------------------------------------------------------------


def test_files_hold_text_and_bytes(call: Caller) -> None:
    assert output(call, """
        system.file('reports/text').save(content='ü\\r\\n')
        system.file('reports/empty', content='')
        system.file('reports/bytes').save(content=b'\\xff\\x00')
        names = ('reports/text', 'reports/empty', 'reports/bytes')
        contents = [system.file(name).get('content') for name in names]
        this.set_output([contents[0], contents[1], list(contents[2]), system.file('reports/none').exists()])
    """) == ["ü\r\n", "", [255, 0], False]  # fmt: skip


def test_large_files_are_saved_and_read_in_one_go(call: Caller) -> None:
    """Up to max_output_bytes; here the default of 8 MiB."""
    assert output(call, """
        text = 'ä' * 4_000_000
        data = bytes(range(256)) * 30_000
        system.file('reports/large.txt').save(content=text)
        system.file('reports/large.bin').save(content=data)
        read = [system.file(name).get('content') for name in ('reports/large.txt', 'reports/large.bin')]
        this.set_output([read[0] == text, read[1] == data])
    """) == [True, True]  # fmt: skip
    assert last_line(call, "system.file('reports/huge').save(content=b'x' * 8_388_609)") == (
        "flow_api.InvalidInputError: file.save: 8388609 bytes are too many at once; max_output_bytes allows 8388608"
    )


def test_a_childs_input_and_output_may_be_large(call: Caller) -> None:
    source = flow("this.set_output('back', this.get('input_value')['text'])")
    call.project.flow("acme", "mirror", source)
    wait_for(lambda: output(call, "this.set_output(system.flow('mirror').exists())"), "the flow")
    assert output(call, """
        text = 'ü' * 3_000_000
        child = this.flow('mirror', text=text)
        this.set_output([child.load('output_value')['back'] == text, child.load('input_value')['text'] == text])
    """) == [True, True]  # fmt: skip


def test_a_file_that_no_room_is_left_for_names_the_limit(call: Caller) -> None:
    said = last_line(call, """
        for number in range(20):
            system.file(f'reports/part-{number}').save(content=b'x' * 8_000_000)
    """)  # fmt: skip
    assert "max_saved_bytes: settings and files that flows of acme saved may take 104857600 bytes in all" in said
    output(call, "for file in system.files(glob='reports/part-*'):\n    file.delete()")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("dir='reports/2020'", ["reports/2020/a.csv", "reports/2020/deep/b.txt"]),
        ("dir='reports/2020/'", ["reports/2020/a.csv", "reports/2020/deep/b.txt"]),
        ("glob='reports/*.csv'", ["reports/2020/a.csv", "reports/2021.csv"]),
        ("dir='reports/2020', glob='*.txt'", ["reports/2020/deep/b.txt"]),
        ("'reports/2020'", ["reports/2020/a.csv", "reports/2020/deep/b.txt"]),
        ("dir='./reports/2020/'", ["reports/2020/a.csv", "reports/2020/deep/b.txt"]),
        ("dir='reports/2020', glob='deep/*'", ["reports/2020/deep/b.txt"]),
        ("dir='reports/2020', glob='**/a*'", ["reports/2020/a.csv"]),
        ("dir='.', glob='**/*.csv'", ["reports/2020/a.csv", "reports/2021.csv"]),
        ("dir='', glob='*1.csv'", ["reports/2021.csv"]),
        ("dir='reports', glob='2020'", []),
        ("filter={'field': 'name', 'op': 'like', 'value': 'reports/202_.csv'}", ["reports/2021.csv"]),
        ("filter={'field': 'name', 'op': 'eq', 'value': 'reports/2021.csv'}", ["reports/2021.csv"]),
        ("dir='nothing'", []),
    ],
)  # fmt: skip
def test_files_are_found(call: Caller, arguments: str, names: list[str]) -> None:
    assert output(call, f"""
        for name in ('reports/2020/a.csv', 'reports/2020/deep/b.txt', 'reports/2021.csv'):
            system.file(path=name, content=name)
        this.set_output([file.get('content') for file in system.files({arguments})])
    """) == names  # fmt: skip


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("system.setting('secret').get()", "PermissionDenied: user kevin may not read the setting secret"),
        ("system.setting('secret').exists()", "PermissionDenied: user kevin may not read the setting secret"),
        ("system.setting('shared').save(value=1)", "PermissionDenied: user kevin may not write the setting shared"),
        ("system.setting('shared').list_append(1)", "PermissionDenied: user kevin may not write the setting shared"),
        ("system.setting('shared').delete()", "PermissionDenied: user kevin may not write the setting shared"),
        ("system.setting('shared').acquire()", "PermissionDenied: user kevin may not write the setting shared"),
        ("system.setting('client.webhook.hook-1').get()", "PermissionDenied: user kevin may not read the setting"),
        ("system.file('other').get('content')", "PermissionDenied: user kevin may not read the file other"),
        ("system.file('in/x').save(content='')", "PermissionDenied: user kevin may not write the file in/x"),
        ("system.file('in/x').delete()", "PermissionDenied: user kevin may not write the file in/x"),
        ("system.setting('app.none').get()", "ResourceNotFoundError: there is no setting 'app.none'"),
        ("system.setting('app.none').delete()", "ResourceNotFoundError: no value is saved for the setting 'app.none'"),
        ("system.file('reports/none').get('content')", "ResourceNotFoundError: there is no file 'reports/none'"),
        ("system.file('reports/none').delete()", "ResourceNotFoundError: there is no file 'reports/none'"),
        ("this.task('REST', url='http://127.0.0.1:9/')", "PermissionDenied: user kevin may not"),
        ("this.task('REST', url='nonsense')", "InvalidInputError: "),
        ("this.task('REST')", "MissingInputError: REST needs url"),
        ("this.task('REST', url='http://a', init={'x': 1})", "InvalidInputError: this.task: init takes"),
        ("this.task('REST', url='http://a', initial=1)", "InvalidInputError: REST has no input 'initial'; it has url"),
    ],
)  # fmt: skip
def test_a_refusal_names_user_action_and_record(call: Caller, body: str, words: str) -> None:
    assert last_line(call, body).startswith(f"flow_api.{words}")


def test_who_has_no_rights_can_do_nothing(call: Caller) -> None:
    bodies = ("system.setting('app.colour').get()", "system.file('reports/text').get('content')", "this.flow('locker')")
    for body in bodies:
        assert last_line(call, body, user_name="eve").startswith("flow_api.PermissionDenied: user eve may not")
    assert output(call, "this.set_output([system.settings(), system.files()])", user_name="eve") == [[], []]


# ---- outgoing calls --------------------------------------------------------------------------------------------------


def test_a_task_is_a_child_with_fields(call: Caller, outside: str) -> None:
    assert output(call, f"""
        task = this.task('REST', url='{outside}/weather/x', name='weather', run=False)
        before = task.get('status', 'type', 'id')
        result = task.run().get('output_value')
        this.set_output([before, task.get('name', 'type', 'status'), result['status_code'], result['json'],
                         result['headers']['content-type']])
    """) == [
        ["PENDING", "TASK", None],
        ["weather", "TASK", "ENDED_SUCCESS"],
        200,
        {"weather": "sunny"},
        "application/json",
    ]  # fmt: skip


def test_a_status_that_was_not_expected_is_a_failure_that_can_be_looked_at(call: Caller, outside: str) -> None:
    assert output(call, f"""
        try:
            this.connect(url='{outside}/nothing')
        except flow_api.DependencyFailedError as error:
            task = error.execution
        this.set_output([task.get('status'), task.get('output_value')['status_code'], '404' in task.get('message')])
    """) == ["ENDED_ERROR", 404, True]  # fmt: skip


def test_flows_and_tasks_are_waited_for_together(call: Caller, outside: str) -> None:
    assert output(call, f"""
        tasks = [this.task('REST', url='{outside}/joke').run_async() for n in range(3)]
        bad = this.task('REST', url='{outside}/nothing').run_async()
        child = this.flow('locker', wait=False)
        ended = this.wait_for(*tasks, bad, child, return_when=system.return_when.ALL_ENDED)
        this.set_output([execution.get('status') == 'ENDED_SUCCESS' for execution in ended])
    """) == [True, True, True, False, True]  # fmt: skip


def test_the_daemon_met_no_error_of_its_own(call: Caller) -> None:
    assert "Traceback" not in call.daemon.log
