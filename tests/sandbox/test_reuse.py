"""A warm worker runs one execution after the other of the same client and user: nothing of one is left for the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from .far_side import Ended, TestWorker


@pytest.fixture
def run_both(
    workers: Callable[..., TestWorker], compile_flow: Callable[[str], dict[str, Any]]
) -> Callable[[str, str], Ended]:
    """Runs two flows one after the other in one worker; answers how the second ended."""
    worker = workers()

    def run(first: str, second: str) -> Ended:
        ended = None
        for source in map(dedent, (first, second)):
            compiled = compile_flow(source)
            assert compiled["op"] == "compiled", compiled["text"]
            ended = worker.finish(worker.start(worker.load(source, compiled["code"])))
            assert ended.status == "ENDED_SUCCESS", ended.message
        assert ended is not None
        return ended

    return run


def test_globals_are_fresh(run_both: Callable[[str, str], Ended]) -> None:
    source = """
    seen = []
    def count():
        seen.append(1)
        count.calls = getattr(count, 'calls', 0) + 1
        return [len(seen), count.calls]
    def handler(system, this):
        this.set_output('counts', count())
    """
    assert run_both(source, source).output == {"counts": [1, 1]}


def test_default_arguments_and_classes_are_fresh(run_both: Callable[[str, str], Ended]) -> None:
    source = """
    class Registry:
        names = []
        total = 0
    def add(name, names=[]):
        names.append(name)
        Registry.names.append(name)
        Registry.total += 1
        return [len(names), len(Registry.names), Registry.total]
    def handler(system, this):
        this.set_output('sizes', add('x'))
    """
    assert run_both(source, source).output == {"sizes": [1, 1, 1]}


def test_a_seed_does_not_outlive_its_execution(run_both: Callable[[str, str], Ended]) -> None:
    expected = "[random.random() for _ in range(3)]"
    first = """
    import random
    def handler(system, this):
        random.seed(1)
    """
    second = f"""
    import random
    def handler(system, this):
        numbers = {expected}
        random.seed(1)
        this.set_output('is_seeded', numbers == {expected})
    """
    assert run_both(first, second).output == {"is_seeded": False}


def test_forks_do_not_share_their_randomness(run_flow: Callable[..., Ended]) -> None:
    source = """
    import random, secrets, uuid
    def handler(system, this):
        this.set_output([random.random(), uuid.uuid4(), secrets.token_hex(4)])
    """
    numbers = [run_flow(dedent(source)).output for _ in range(3)]
    assert len({str(value) for triple in numbers for value in triple}) == 9


def test_the_decimal_context_is_reset(run_both: Callable[[str, str], Ended]) -> None:
    first = """
    import decimal
    def handler(system, this):
        context = decimal.getcontext()
        context.prec = 2
        context.rounding = decimal.ROUND_UP
        context.traps[decimal.Inexact] = True
        decimal.setcontext(context)
    """
    second = """
    from decimal import Decimal, getcontext
    def handler(system, this):
        this.set_output(third=Decimal(1) / 3, prec=getcontext().prec, rounding=getcontext().rounding)
    """
    assert run_both(first, second).output == {"third": "0." + "3" * 28, "prec": 28, "rounding": "ROUND_HALF_EVEN"}


def test_a_reset_happens_after_a_failure_too(run_both: Callable[[str, str], Ended]) -> None:
    first = """
    import decimal
    def handler(system, this):
        decimal.getcontext().prec = 2
        try:
            decimal.Decimal('x')
        finally:
            this.success()
    """
    second = """
    import decimal
    def handler(system, this):
        this.set_output('prec', decimal.getcontext().prec)
    """
    assert run_both(first, second).output == {"prec": 28}


LEFTOVER = """
def wait(this):
    me = []
    def generator():
        try:
            me.append(gen)
            yield 1
        finally:
            {act}
    gen = generator()
    next(gen)
    return me

def handler(system, this):
    {keep}wait(this)
"""


@pytest.mark.parametrize("keep", ["", "this.set_output('kept', 1); kept = "])
@pytest.mark.parametrize(
    "act",
    [
        "this.log('from the grave')",
        "print('from the grave')",
        "this.sleep(1)",
        "this.set_output('grave', 1)",
        "this.success('from the grave')",
        "this.error('from the grave')",
    ],
)
def test_a_suspended_generator_says_nothing_in_the_next_execution(
    run_both: Callable[[str, str], Ended], act: str, keep: str
) -> None:
    second = """
    def handler(system, this):
        garbage = [[n] for n in range(100_000)]
        for item in garbage:
            item.append(item)
        del garbage
        this.set_output('a', 1)
        this.success('mine')
    """
    ended = run_both(LEFTOVER.format(act=act, keep=keep), second)
    assert (ended.log, ended.calls, ended.output, ended.message) == ([], [], {"a": 1}, "mine")


def test_what_a_leftover_does_is_done_before_the_end_is_told(run_flow: Callable[..., Ended]) -> None:
    """A `finally` that runs late counts as its own execution's time: the daemon's clock still runs for it."""
    source = """
    def generator(box):
        try:
            yield
        finally:
            sum(range(10**7))
            box.append(1)
    def handler(system, this):
        box = []
        box.append(generator(box))
        next(box[0])
    """
    assert run_flow(dedent(source)).status == "ENDED_SUCCESS"


def test_what_a_flow_put_into_typing_goes_with_its_process(run_flow: Callable[..., Ended]) -> None:
    """typing caches what it was asked for by hash and equality, and both may be a flow's own."""
    source = """
    from typing import Literal
    class Same:
        def __hash__(self): return 1
        def __eq__(self, other):
            raise ValueError('the class of an earlier execution')
    def handler(system, this):
        Literal[Same()]
    """
    assert run_flow(dedent(source)).head["fresh"] is True


def test_an_abc_learns_nothing_from_a_flow(run_flow: Callable[..., Ended]) -> None:
    """What is built upon a library's class may be remembered there: the process goes, and the ABC with it."""
    source = """
    from collections.abc import Sized
    class Mine(Sized):
        def __len__(self): return 0
    def handler(system, this):
        isinstance(Mine(), Sized)
        this.set_output('int', isinstance(1, Sized))
    """
    ended = run_flow(dedent(source))
    assert ended.output == {"int": False}
    assert ended.head["fresh"] is True


def test_what_is_large_but_let_go_of_leaves_nothing_behind(
    workers: Callable[..., TestWorker], compile_flow: Callable[[str], dict[str, Any]]
) -> None:
    """Only memory that a flow keeps makes its process go: not its input, not its output."""
    source = dedent("""
    def handler(system, this):
        this.set_output('text', this.get('input_value')['json'][::-1])
    """)
    worker = workers()
    digest = worker.load(source, compile_flow(source)["code"])
    text = "ab" * 4_000_000
    for _ in range(3):
        head = worker.run_head(digest, max_output_bytes=20_000_000)
        worker.send(head, json.dumps({"json": text}).encode())
        ended = worker.finish(head.job)
        assert ended.output == {"text": text[::-1]}
        assert "fresh" not in ended.head


def test_two_flows_of_the_same_text_keep_their_names(workers: Callable[..., TestWorker]) -> None:
    source = "def handler(system, this):\n    if this.get('flow_name') == 'two':\n        1 / 0\n"
    worker = workers()
    code = {name: workers().compile(source, name)[0]["code"] for name in ("one", "two")}
    for name in ("one", "two"):
        worker.load(source, code[name], name)
    messages = []
    for name in ("one", "two"):
        head = worker.run_head(worker.load(source, code[name], name), name)
        worker.send(head, b"null")
        messages.append(worker.finish(head.job).message)
    assert messages[0] == ""
    assert "flows/acme/two.py" in messages[1]


def test_a_flow_that_decides_what_is_equal_gets_a_worker_for_itself(run_flow: Callable[..., Ended]) -> None:
    """Its texts may sit in a cache of the library, and answer for others there."""
    source = """
    class Lie(str):
        def __eq__(self, other): return True
        def __hash__(self): return hash('>I')
    def handler(system, this):
        import struct
        struct.pack(Lie('<I'), 1)
    """
    assert run_flow(dedent(source)).head["fresh"] is True
