"""A third hour with fresh eyes against the language layer, and what came of it.

By kind: the library asks an object for its class and calls that; a name that a flow chose is read by Python itself;
memory is read past an object's end; state that outlives an execution. Each test says what would prove an escape.
"""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent, indent
from typing import Any

import pytest

from ..far_side import Ended
from .bodies import InOneProcess, handler

# ---- the real `type`, and methods of anything ------------------------------------------------------------------------

REAL_CLASSES = {
    "the class of a class, by a list's copy": "import collections\ngot = collections.UserList.copy(int)",
    "the class of a class, by a counter's copy": "import collections\ngot = collections.Counter.copy(int)",
    "a class of any namespace, by a chain's child": """
        import collections
        class Parts:
            maps = [(), {'__call__': lambda self: 'called'}]
        got = collections.ChainMap.new_child(Parts, 'Made')
    """,
    "a class of any namespace, by a chain's parents": """
        import collections
        class Parts:
            maps = [None, 'Made', (), {'__call__': lambda self: 'called'}]
            parents = classmethod(collections.ChainMap.parents)
        got = Parts.parents()
    """,
    "a method of anything, by its type": "got = type(this.get)(print, 1)",
    "a method of anything, by a chain's child": """
        import collections
        class Owner:
            def method(self): pass
        Owner.method.maps = [1]
        got = collections.ChainMap.new_child(Owner().method, print)
    """,
    "the class of a function, as a base": """
        def function(): pass
        class Made(function): pass
        got = Made
    """,
    "a property of the library's, of a class": """
        import ipaddress
        class Own:
            hosts = classmethod(ipaddress.IPv4Network.num_addresses)
            network_address = broadcast_address = 7
        got = Own.hosts()
    """,
    "the types of what has no use for them": """
        import zoneinfo, typing
        got = []
        def generator(): yield 1
        for thing in (lambda: 0, this.get, list[int], typing.List[int], zoneinfo.ZoneInfo('UTC'), int):
            try:
                got.append(type(thing))
            except TypeError:
                pass
        got = got or None
    """,
}


@pytest.mark.parametrize("body", REAL_CLASSES.values(), ids=REAL_CLASSES)
def test_no_class_is_had_that_a_flow_could_not_name(run_flow: Callable[..., Ended], body: str) -> None:
    """Proof: `type` itself, a class made by it, or a method of an object and a function of the flow's choice."""
    attempt = indent(dedent(body), "    ")
    ended = run_flow(
        handler(
            f"got = None\ntry:\n{attempt}\nexcept (TypeError, AttributeError):\n    got = None\n"
            "this.set_output('got', repr(got))"
        )
    )
    assert ended.output == {"got": "None"}, ended.message


# ---- names that Python itself reads ----------------------------------------------------------------------------------

BY_PICKLING = {
    "the real format of a text": "got = copy.copy('{0.__class__}'.format)(this)",
    "the same, deeply": "got = copy.deepcopy('{0.__class__}'.format)(this)",
    "a function that has the name of another": """
        import typing
        name = typing.NewType('__class__', int)
        got = copy.copy(type(this.get)(name, this))
    """,
    "a method whose function borrows a name": """
        import functools, json
        class Owner:
            def method(self): pass
        functools.update_wrapper(Owner.method, json.JSONEncoder.default)
        owner = Owner()
        owner.default = 'read by name'
        copied = copy.copy(owner.method)
        got = copied if copied == 'read by name' else None
    """,
    "a class method": """
        class Owner:
            def format(self): return 1
        got = copy.copy(classmethod(Owner.format))
    """,
    "a static method": "got = copy.deepcopy(staticmethod('{0.__class__}'.format))",
    "by way of a dataclass": """
        import dataclasses
        @dataclasses.dataclass
        class Row:
            read: object
        got = dataclasses.asdict(Row('{0.__class__}'.format))['read'](this)
    """,
    "by way of a dataclass's tuple": """
        import dataclasses
        @dataclasses.dataclass
        class Row:
            read: object
        got = dataclasses.astuple(Row([print]))[0]
    """,
    "the execution that print is bound to": "got = copy.deepcopy([print])[0]",
    "by way of a dict of the library's": """
        import collections
        class Own(collections.UserDict): pass
        got = Own(read='{0.__class__}'.format).copy()['read'](this)
    """,
}


@pytest.mark.parametrize("body", BY_PICKLING.values(), ids=BY_PICKLING)
def test_a_copy_reads_no_attribute_past_the_guard(run_flow: Callable[..., Ended], body: str) -> None:
    """Proof: `got` is something that no guard has seen."""
    attempt = indent(dedent(body), "    ")
    ended = run_flow(
        handler(
            f"import copy\ngot = None\ntry:\n{attempt}\nexcept (TypeError, AttributeError):\n    got = None\n"
            "this.set_output('got', repr(got))"
        )
    )
    assert ended.output == {"got": "None"}, ended.message


# ---- memory ----------------------------------------------------------------------------------------------------------

OUT_OF_BOUNDS = {
    "made so": "error = UnicodeDecodeError('x', b'abc', start, start + 1, 'x')",
    "set so": """
        error = UnicodeDecodeError('x', b'abc', 0, 1, 'x')
        error.start, error.end = start, start + 1
    """,
    "set so while its text is made": """
        class Reason:
            def __str__(self):
                error.start, error.end = start, start + 1
                return 'x'
        error = UnicodeDecodeError('x', b'abc', 0, 1, 'x')
        error.reason = Reason()
    """,
    "in a class that says otherwise": """
        class Own(UnicodeDecodeError):
            start = 0
        error = Own('x', b'abc', start, start + 1, 'x')
    """,
}


@pytest.mark.parametrize("make", OUT_OF_BOUNDS.values(), ids=OUT_OF_BOUNDS)
def test_an_errors_text_reads_nothing_beyond_its_object(run_flow: Callable[..., Ended], make: str) -> None:
    """Proof: the text holds a byte of the process's memory, where earlier executions left theirs."""
    body = "texts = []\nfor start in range(-400, 0):\n" + indent(dedent(make), "    ")
    body += "\n    texts.append('can\\'t decode byte 0x' in str(error))\nthis.set_output('got', any(texts))"
    ended = run_flow(handler(body))
    assert ended.output == {"got": False}, ended.message


# ---- state that survives ---------------------------------------------------------------------------------------------

TRACES = {
    "a flag's value by a functional enum": (
        "import enum, re\nre.RegexFlag(enum.IntEnum('Mine', {'A': 82}).A)",
        "import re\nthis.set_output('got', repr(re.RegexFlag(82).value))",
        "82",
    ),
    "a flag's value by a flag of the flow's": (
        "import enum, re\nre.I | enum.IntFlag('Mine', {'A': 80}).A",
        "import re\nthis.set_output('got', repr((re.I | 80).value))",
        "82",
    ),
    "a flag's value by a truth": (
        "import re\nre.RegexFlag(True)",
        "import re\nthis.set_output('got', repr(re.RegexFlag(1).value))",
        "1",
    ),
    "a flag's value by a member of the library's": (
        "import re, uuid, zlib\nre.RegexFlag(re.RegexFlag(512 + 64))",
        "import re\nthis.set_output('got', repr(re.RegexFlag(576).value))",
        "576",
    ),
    "what the decimals of an import of another name leave": (
        "from decimal import getcontext as context\ncontext().prec = 3",
        "import decimal\nthis.set_output('got', decimal.getcontext().prec)",
        28,
    ),
    "what a suspended generator puts back on its way out": (
        """
        import decimal
        decimal.getcontext().prec = 3
        def suspended():
            with decimal.localcontext():
                yield 1
        kept = [suspended()]
        next(kept[0])
        kept.append(kept)
        """,
        "import decimal\nthis.set_output('got', decimal.getcontext().prec)",
        28,
    ),
    "what the first execution finds": (
        "pass",
        "import decimal\nthis.set_output('got', repr(decimal.getcontext().flags[decimal.Inexact]))",
        "False",
    ),
}


@pytest.mark.parametrize(("first", "second", "honest"), TRACES.values(), ids=TRACES)
def test_nothing_of_a_flow_is_left_for_the_next(
    in_one_process: InOneProcess, first: str, second: str, honest: Any
) -> None:
    """Proof: the second flow gets something else than it would in a new process."""
    assert in_one_process(first, second)[-1].output == {"got": honest}


def test_a_field_of_two_classes_keeps_both_names(run_flow: Callable[..., Ended]) -> None:
    """Proof: what reads the first class's field by its name reads another attribute."""
    ended = run_flow(
        handler("""
        import dataclasses
        shared = dataclasses.field(default='{0.__class__}', metadata={'a': 1})
        @dataclasses.dataclass
        class First:
            text: str = shared
            again: str = shared
        @dataclasses.dataclass(init=False, repr=False, eq=False)
        class Second(First):
            other: str = shared
        names = [[field.name for field in dataclasses.fields(kind)] for kind in (First, Second)]
        this.set_output('got', [names, dataclasses.asdict(First()), dataclasses.fields(Second)[2].metadata['a']])
        """)
    )
    text = "{0.__class__}"
    assert ended.output == {
        "got": [[["text", "again"], ["text", "again", "other"]], {"text": text, "again": text}, 1]
    }, ended.message
