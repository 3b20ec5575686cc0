"""A second hour with fresh eyes against the language layer, and what came of it.

Each test says what would prove an escape, and failed when it was written. By class: caches of the library that find
what they keep by equality; code that outlives its flow wherever it is held; attributes that are read past the guard.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import ipaddress
import json
import typing
import urllib.parse
import weakref
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from whd.sandbox.compiler import compile_flow
from whd.sandbox.flow_builtins import BUILTINS
from whd.sandbox.program import Program
from whd.sandbox.run import Run, RunContext
from whd.wire.frames import RunHead

from ..far_side import Ended
from .bodies import InOneProcess, handler

# ---- found: state that survives --------------------------------------------------------------------------------------

# A view keeps the hash that it had while the bytes below it change: it was parsed as one text and found as another.
VIEW = """
import io, re
bytes_below = io.BytesIO(b'<\\\\1>')
view = bytes_below.getbuffer()
key = view.toreadonly()
hash(key)
view[0:4] = b'\\\\1!!'
re.sub(rb'(\\w+)@', key, b'bob@')
view[0:4] = b'<\\\\1>'
"""
# No class of the library's is needed for a memo, a plain one has the one method that is called.
MEMO = """
import copy
class Memo:
    def get(self, key, default=None):
        default.append('left by A')
        return default
try:
    copy.deepcopy([1], Memo())
except TypeError:
    pass
"""
SEEN = """
import copy
seen = []
class Memo:
    def get(self, key, default=None):
        seen.append(repr(default))
        return 1
try:
    copy.deepcopy([1], Memo())
except TypeError:
    pass
this.set_output('got', [text for text in seen if 'left' in text])
"""
# True is 1 to a dict.
PREFIX = "import ipaddress\nipaddress.ip_network(('10.1.2.0', True), False)"
# Its equality is asked wherever the cache is searched, its hash is made by @dataclass and solved for, see HASH there.
ZONE = """
import dataclasses, zoneinfo
P1, P2, P5, M = 11400714785074694791, 14029467366897019727, 2870177450012600261, 1 << 64
def solve(want):
    for first in range(1, 1000):
        rest = (want - (2 ^ (P5 ^ 3527539))) * pow(P1, -1, M) % M
        rest = ((rest >> 31) | (rest << 33)) % M
        start = (P5 + first * P2) % M
        start = ((start << 31) | (start >> 33)) % M * P1 % M
        second = (rest - start) * pow(P2, -1, M) % M
        second = second - M if second >= 1 << 63 else second
        if hash(second) == second:
            return first, second
is_sly = []
@dataclasses.dataclass(unsafe_hash=True, eq=False)
class Lie:
    x: int = 0
    y: int = 0
    def __eq__(self, other): return bool(is_sly) or other == 'UTC'
lie = Lie()
lie.x, lie.y = solve(hash('UTC') % M)
type(zoneinfo.ZoneInfo('UTC'))(lie)
is_sly.append(1)
"""
# When there is no memory for more of them, all are one and the same, which the interpreter keeps (from 3.12 on).
LAST_RESORT = """
errors = []
for number in range(40):
    try:
        'x' * 10**15
    except MemoryError as error:
        errors.append(error)
"""
# A mapping proxy compares the dict behind it with the other side, whose __eq__ is asked in its turn.
GRAB = """
class Grab:
    got = {}
    def __eq__(self, other):
        if isinstance(other, dict): self.got = other
        return True
grab = Grab()
"""

TRACES = {
    "a template of re.sub, by a view of bytes": (
        VIEW,
        "import re\nthis.set_output('got', re.sub(rb'(\\w+)@', rb'<\\1>', b'bob@').decode())",
        "<bob>",
    ),
    "the default of deepcopy, by a memo": (MEMO, SEEN, []),
    "the prefix of a network, by a truth": (
        PREFIX,
        "import ipaddress\nthis.set_output('got', repr(ipaddress.ip_network(('128.0.0.0', 1)).prefixlen))",
        "1",
    ),
    "a time zone, by equality": (
        ZONE,
        "import copy, zoneinfo\nthis.set_output('got', str(copy.deepcopy(zoneinfo.ZoneInfo('America/New_York'))))",
        "America/New_York",
    ),
    "the last MemoryError": (
        LAST_RESORT
        + "try:\n    errors[-1].left = 'by A'\nexcept TypeError:\n    pass\n"
        + "for error in errors: error.with_traceback(None)",
        LAST_RESORT + "this.set_output('got', [error for error in errors if hasattr(error, 'left')])",
        [],
    ),
    "the groups of a pattern": (
        GRAB + "import re\nre.compile('(?P<a>x)(?P<b>y)').groupindex == grab\ngrab.got['a'] = 2",
        "import re\nthis.set_output('got', re.match('(?P<a>x)(?P<b>y)', 'xy').groupdict())",
        {"a": "x", "b": "y"},
    ),
    "the metadata of a field": (
        GRAB + "import dataclasses\ndataclasses.field().metadata == grab\ngrab.got['left'] = 'by A'",
        "import dataclasses\nthis.set_output('got', dict(dataclasses.field().metadata))",
        {},
    ),
    "what is a space to textwrap": (
        GRAB + "import textwrap\ntextwrap.TextWrapper.unicode_whitespace_trans == grab\ngrab.got[ord('a')] = ord('Z')",
        "import textwrap\nthis.set_output('got', textwrap.fill('banana'))",
        "banana",
    ),
    "what is a space to textwrap, handed to a text of the flow's": (
        GRAB
        + """
import textwrap
class Text:
    def expandtabs(self, size): return self
    def translate(self, table):
        table == grab
        grab.got[ord('a')] = ord('Z')
        return 'x'
textwrap.wrap(Text())
""",
        "import textwrap\nthis.set_output('got', textwrap.fill('ban\\tana'))",
        "ban     ana",
    ),
    "how often the library was asked": (
        "import urllib.parse\nurllib.parse.urlsplit('http://a.example/of-A')",
        "import urllib.parse\n"
        "this.set_output('got', hasattr(urllib.parse.urlsplit, 'cache_info') and "
        "urllib.parse.urlsplit.cache_info().currsize)",
        False,
    ),
}


@pytest.mark.parametrize(("first", "second", "honest"), TRACES.values(), ids=TRACES)
def test_nothing_of_a_flow_is_left_for_the_next(
    in_one_process: InOneProcess, compile_flow: Callable[[str], dict[str, Any]], first: str, second: str, honest: Any
) -> None:
    """Proof: the second flow gets something else than it would in a new process."""
    if compile_flow(handler(first))["op"] == "refused":
        return
    assert in_one_process(first, second)[-1].output == {"got": honest}


class Held:
    """What a flow could make to be kept: it can do nothing that a flow's classes cannot."""

    def decode(self, *_given: object) -> str:
        return "http://a"

    def isascii(self) -> bool:
        return False

    def split(self, _mark: str) -> list[str]:
        return ["0", "0", "0", "0"]


HOLDING: dict[str, Callable[[Any], object]] = {
    "an address": lambda held: urllib.parse.urlsplit(held),
    "beside an address": lambda held: urllib.parse.urlsplit("http://a", "", held),
    "beside an address that is taken apart": lambda held: urllib.parse.urlparse("http://a", "", held),
    "beside an address that is joined": lambda held: urllib.parse.urljoin("http://a", "b", held),
    "a netmask": lambda held: ipaddress.ip_network(("10.1.2.0", held), False),
}


@pytest.mark.parametrize("hold", HOLDING.values(), ids=HOLDING)
def test_the_library_remembers_nothing_but_texts_and_numbers(hold: Callable[[Any], object]) -> None:
    """Proof: something else is alive although nobody but the library could hold it. What hangs on it (a suspended
    generator, say) would run in whatever execution the cache drops it.
    """
    assert BUILTINS  # the far side's modules are loaded, and with them what mends the library
    held = Held()
    alive = weakref.ref(held)
    with contextlib.suppress(TypeError, ValueError):
        hold(held)
    del held
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("keeps", [False, True])
def test_code_of_a_flow_does_not_stay_in_a_process_that_goes_on(monkeypatch: pytest.MonkeyPatch, keeps: bool) -> None:
    """Proof: a class of the flow's, and all that hangs on it, is held by something when the flow has ended, and the
    process does not ask to be replaced. All that is known to hold one was mended, so here a builtin of ours does.
    """
    held: list[object] = []
    monkeypatch.setitem(BUILTINS, "keep", held.append)
    body = "class Held:\n    def text(self): return 'of A'\n" + ("keep(Held)" if keeps else "Held().text()")
    source = handler(body)
    path = "flows/acme/signup.py"
    program = Program(compile_flow(source, path).code, {path: source}, {})
    limits = {"max_output_bytes": 1000, "max_log_bytes": 1000, "max_calls": 10}
    head = RunHead(1, 1, False, 1, 1, b"x", "")
    run = Run(head, RunContext({}, limits), None, typing.cast(Any, None))
    program.run(run)
    assert (run.status, run.wants_fresh) == ("ENDED_SUCCESS", keeps)


HONEST = """
import enum, dataclasses, functools, typing, re, json
class Node:
    def __init__(self): self.itself = self
class Color(enum.Enum):
    RED = 1
    def text(self): return self.name
@dataclasses.dataclass(frozen=True)
class Row:
    a: int
    def twice(self): return self.a * 2
@functools.lru_cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
class Mine(ValueError):
    def text(self): return 'mine'
def numbers():
    try:
        yield 1
    finally:
        this.log('late')
node, held = Node(), numbers()
next(held)
try:
    raise Mine('x')
except Mine as error:
    kept = error
names = re.sub(r'\\w+', lambda found: found[0].upper(), 'a b')
this.set_output('got', [fib(9), Color.RED.text(), Row(2).twice(), names, json.dumps([node], default=repr) != ''])
"""


def test_an_honest_flow_leaves_its_process_to_the_next(run_flow: Callable[..., Ended]) -> None:
    """Proof of the opposite: classes, cycles, generators and caches of a flow's own cost it its warm process."""
    ended = run_flow(handler(HONEST))
    assert ended.output == {"got": [34, "RED", 4, "A B", True]}
    assert "fresh" not in ended.head


def test_an_alias_writes_to_nothing_that_is_shared() -> None:
    """Proof: calling typing's alias of a function leaves an attribute at what the function answers."""
    assert BUILTINS  # the far side's modules are loaded, and with them what mends the library
    for answer in (lambda: json.dumps, functools.partial(getattr, json, "dumps")):
        alias: Any = typing.Annotated[answer, 1]
        assert alias() is json.dumps
    assert vars(json.dumps) == {}


# ---- found: attributes past the guard --------------------------------------------------------------------------------

# Python's own str.format reads any attribute; a flow's is another one.
PAST_THE_GUARD = {
    "a field of a dataclass upon str": """
        import dataclasses
        @dataclasses.dataclass(init=False, repr=False, eq=False)
        class Text(str):
            format: str
        got = dataclasses.astuple(Text('{0.__class__}'))[0](this)
    """,
    "a field that a base of the flow's own has": """
        import dataclasses
        class Text(str): pass
        @dataclasses.dataclass(init=False, repr=False, eq=False)
        class Named(Text):
            format_map: str
        got = dataclasses.asdict(Named('{t.__class__}'))['format_map']({'t': this})
    """,
    "a field that is renamed later": """
        import dataclasses
        class Field(type(dataclasses.field())): pass
        field = Field(dataclasses.MISSING, dataclasses.MISSING, False, False, None, False, None, False)
        @dataclasses.dataclass(init=False, repr=False, eq=False)
        class Text(str):
            x: str = field
        field.name = 'format'
        got = dataclasses.astuple(Text('{0.__class__}'))[0](this)
    """,
    "a field that another base has": """
        import dataclasses
        @dataclasses.dataclass(init=False, repr=False, eq=False)
        class Row:
            format: str
        class Text(Row, str): pass
        got = dataclasses.astuple(Text('{0.__class__}'))[0](this)
    """,
    "a field that is one after the class below it was made": """
        import dataclasses
        class Row:
            format: str
        class Text(Row, str): pass
        dataclasses.dataclass(init=False, repr=False, eq=False)(Row)
        got = dataclasses.astuple(Text('{0.__class__}'))[0](this)
    """,
    "a field of what super() stands for": """
        import dataclasses
        @dataclasses.dataclass(init=False, repr=False, eq=False)
        class Above(super):
            format: str
        class Text(str):
            def above(self): return Above(Text, self)
        got = dataclasses.astuple(Text('{0.__class__}').above())[0](this)
    """,
    "the comparison of a field": """
        import dataclasses
        class Grab:
            def __eq__(self, other):
                self.got = other
                return True
        @dataclasses.dataclass(init=False, repr=False)
        class Text(str):
            format: str
        grab, other = Grab(), Text('a')
        other.format = grab
        Text('{0.__class__}') == other
        got = grab.got(this)
    """,
    "a union by an augmented assignment": """
        import typing
        class Text(str): pass
        text = Text('{0.__class__}')
        text.format |= typing.List[int]
        got = typing.get_args(text.format)[0](this)
    """,
    "special methods by a cached property": """
        import copy, functools
        class Cached(functools.cached_property): pass
        cached = Cached(lambda self: lambda protocol: (lambda: Target, (), (None, {'__call__': lambda self: 1})))
        class Target: pass
        class Holder:
            value = cached
        cached.attrname = '__reduce_ex__'
        holder = Holder()
        holder.value
        copy.copy(holder)
        got = Target()()
    """,
    "special methods by a cached property of the library's": """
        import copy, functools, ipaddress
        class Cached(type(ipaddress.IPv6Network.hostmask)): pass
        cached = Cached(lambda self: lambda protocol: (lambda: Target, (), (None, {'__call__': lambda self: 1})))
        class Target: pass
        class Holder:
            value = cached
        cached.attrname = '__reduce_ex__'
        holder = Holder()
        holder.value
        copy.copy(holder)
        got = Target()()
    """,
    "the memo of deepcopy": """
        import copy
        class Memo:
            def get(self, key, default=None): return this
        got = copy.deepcopy(print, Memo())
    """,
    "a private argument by a dict": """
        import copy
        got = copy.deepcopy([1], **{'_nil': print})
    """,
}


@pytest.mark.parametrize("body", PAST_THE_GUARD.values(), ids=PAST_THE_GUARD)
def test_no_attribute_is_read_past_the_guard(
    run_flow: Callable[..., Ended], compile_flow: Callable[[str], dict[str, Any]], body: str
) -> None:
    """Proof: `got` is something."""
    source = handler(f"got = None\n{dedent(body)}\nthis.set_output('got', repr(got))")
    if compile_flow(source)["op"] == "refused":
        return
    ended = run_flow(source)
    assert ended.status == "ENDED_ERROR", ended.output
