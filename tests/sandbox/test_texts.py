"""Texts that flows see: without addresses, and with no advice to use what flows do not have."""

from __future__ import annotations

import re
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from whd.sandbox import refusals
from whd.sandbox.modules import FACADES
from whd.sandbox.refusals import MISSING_BUILTINS

from .escapes.bodies import handler
from .far_side import Ended

# An object of every kind that a flow can hold; each is shown alone and within others.
OBJECTS = """
import calendar, collections, contextlib, copy, csv, dataclasses, datetime, decimal, difflib, enum, functools, hashlib
import hmac, io, itertools, json, random, re, string, struct, textwrap, typing, uuid, zlib, zoneinfo

class Plain: pass
class Own:
    def method(self): pass
    @classmethod
    def of_class(cls): pass
    @property
    def value(self): pass
class Text(str): pass
class Color(enum.Enum):
    RED = len
def function(): pass
def generator(): yield 1
@contextlib.contextmanager
def managed(): yield 1
@dataclasses.dataclass
class Row:
    x: object = function
    y: object = dataclasses.field(default_factory=Plain)
class Grab:
    def __enter__(self): return self
    def __exit__(self, kind, error, traceback):
        self.kept = [error, traceback]
        return True
grab = Grab()
with grab:
    [].remove(Plain())
Point = collections.namedtuple('Point', 'x y')
objects = [
    object(), Plain(), Plain, Own().method, Own.method, Own.of_class, Own.value, function, generator, generator(),
    (x for x in []), lambda: 0, print, len, getattr, type, id, ''.join, str.join, {}.get, str.maketrans, dict.fromkeys,
    iter([]), iter(()), iter({}), iter(set()), iter(''), iter(b''), iter(range(3)), iter(int, 1), reversed([]), zip(),
    map(str, []), filter(None, []), enumerate([]), {}.keys(), {}.values(), {}.items(), range(3), slice(function),
    property(function), staticmethod(function), classmethod(function), super(Own, Own()), NotImplemented, ...,
    this, system, this.get, this.log, this.flow, system.setting, system.return_when, type(this), flow_api,
    flow_api.PermissionDenied('x'), this.get('input_value'), json, json.dumps, json.JSONEncoder(), json.JSONDecoder(),
    json.JSONDecoder().scan_once, json.JSONDecoder().parse_object, re, re.compile('a'), re.match('a', 'a'),
    re.finditer('a', 'a'), re.compile('a').scanner('a'), re.I, hashlib.md5(), hashlib.sha3_256(), hashlib.blake2b(),
    hashlib.shake_128(), hmac.new(b'', b'', 'sha256'), csv.reader([]), csv.writer(io.StringIO()), csv.DictReader([]),
    csv.DictWriter(io.StringIO(), []), csv.Sniffer(), csv.reader([]).dialect, csv.excel, io.StringIO(), io.BytesIO(),
    struct.Struct('i'), struct.iter_unpack('i', b''), itertools.count(), itertools.chain(), itertools.cycle([]),
    itertools.tee([])[0], itertools.groupby([]), itertools.batched([], 1), functools.partial(function, Plain()),
    functools.lru_cache(function), functools.cmp_to_key(function), functools.cmp_to_key(function)(1),
    functools.cached_property(function), functools.wraps(function), random.Random(), random.random, random.seed,
    collections.deque([Plain()]), collections.defaultdict(function), collections.OrderedDict(a=Plain()),
    collections.ChainMap({'a': Plain()}), collections.Counter([Plain()]), collections.UserDict(a=Plain()),
    collections.UserList([Plain()]), Point(Plain(), 1), datetime.timezone.utc, datetime.datetime.now().strftime,
    zlib.compressobj(), typing.List[Plain], typing.TypeVar('T'), typing.NewType('N', int), typing.Optional[Plain],
    typing.Callable[[Plain], Row], typing.Protocol, list[Plain], Plain | None, decimal.getcontext(),
    decimal.localcontext(),    decimal.getcontext().flags, calendar.TextCalendar(), calendar.month, calendar.month_name,
    string.Template('a'),
    textwrap.TextWrapper(), difflib.Differ(), difflib.SequenceMatcher(), difflib.ndiff([], []), Row(), Row,
    dataclasses.field(default=function), dataclasses.fields(Row), dataclasses.MISSING, dataclasses.KW_ONLY,
    enum.auto(), Color, Color.RED, contextlib.nullcontext(), contextlib.suppress(), contextlib.closing(Plain()),
    managed,    managed(), uuid.UUID(int=1), uuid.SafeUUID.safe, zoneinfo.ZoneInfo,
    zoneinfo.ZoneInfo('UTC'), grab, *grab.kept, KeyError(Plain()), ValueError(function),
    ExceptionGroup('x', [ValueError(Plain())]), UnicodeDecodeError('utf-8', b'abc', 0, 1, 'x'), Text('x'), {Plain()},
    frozenset([function]), {function: Plain()}, (Plain(),), [[[generator()]]], bytearray(b'x'), 1.5, 2j,
]
"""
SHOWN = """
texts = []
for thing in objects:
    texts += [repr(thing), str(thing), ascii(thing), f'{thing}', f'{thing!r:>3}', '%s %r %a' % (thing, thing, thing)]
    texts += ['{0!r}'.format(thing), '{t}'.format(t=thing), '{t!s}'.format_map({'t': thing}), format(thing)]
    texts += [repr([thing]), str((thing,)), str({'a': thing}), repr(KeyError(thing)), str(ValueError(thing))]
    texts += [string.Template('$x').substitute(x=thing), ''.join(map(str, [thing])), textwrap.fill(str(thing))]
    print(thing, [thing])
    this.log(thing, [thing], field=thing)
    for wrong in (lambda: json.dumps([thing], default=str), lambda: json.dumps(thing, default=repr),
                  lambda: thing + object(), lambda: thing.nothing, lambda: {}[thing], lambda: [].index(thing),
                  lambda: thing(1, 2, 3, 4, 5, 6, 7), lambda: thing[Plain()], lambda: iter(thing), lambda: int(thing),
                  lambda: json.dumps(thing), lambda: getattr(thing, 'missing'), lambda: isinstance(1, thing),
                  lambda: copy.copy(thing), lambda: copy.deepcopy(thing), lambda: type(thing),
                  lambda: re.compile(thing),                  lambda: this.flow(thing), lambda: this.set(thing),
                  lambda: system.setting(thing),
                  lambda: datetime.date(thing, 1, 1), lambda: struct.pack('i', thing), lambda: uuid.UUID(thing)):
        try:
            texts.append(str(wrong()))
        except Exception as error:
            texts += [str(error), repr(error)]
this.set_output('texts', texts)
"""
ADDRESS = re.compile(r"0x[0-9a-f]{6,}|0x(?!80|10|01)[0-9a-f]{5,}")


@pytest.fixture
def run_body(run_flow: Callable[..., Ended]) -> Callable[[str], Ended]:
    def run(body: str) -> Ended:
        limits = {"max_output_bytes": 8_000_000, "max_log_bytes": 8_000_000, "max_calls": 100_000}
        refused = ("InvalidInputError", "no")
        answers: dict[str, Any] = dict.fromkeys(("child.start", "setting.get", "execution.save"), refused)
        return run_flow(handler(body), {"a": 1}, answers, **limits)

    return run


def test_no_text_holds_an_address(run_body: Callable[[str], Ended]) -> None:
    """In what repr, str, format and their kin give, in messages of errors, in the log and in prints."""
    ended = run_body(OBJECTS + SHOWN)
    assert ended.status == "ENDED_SUCCESS", ended.message
    assert len(ended.output["texts"]) > 2_000
    assert len(ended.log) > 200
    shown = [text for text in [*ended.output["texts"], *map(str, ended.log)] if ADDRESS.search(text)]
    assert shown == []


@pytest.mark.parametrize(
    "body",
    [
        "class Plain: pass\nraise ValueError(Plain(), [lambda: 0])",
        "this.error(str(object()))",
        "this.error(object())",
        "this.success(lambda: 0)",
        "this.set_output('a', {'b': lambda: 0})",
        "this.set_output({object(): 1})",
        "this.webhook_html_response(object())",
        "class Plain: pass\n{}[Plain()]",
        "class Plain: pass\n[1].remove(Plain())\n",
        "raise ExceptionGroup('x', [ValueError(object())])",
    ],
)
def test_no_message_of_an_execution_holds_an_address(run_body: Callable[[str], Ended], body: str) -> None:
    ended = run_body(body)
    assert not ADDRESS.search(str(ended.head)), ended.head


def test_id_is_a_name_and_no_address(run_body: Callable[[str], Ended]) -> None:
    ended = run_body("""
        things = [object() for number in range(500)]
        ids = [id(thing) for thing in things]
        spread = sorted(ids)
        this.set_output(
            same=ids == [id(thing) for thing in things], apart=len(set(ids)), typed=type(ids[0]) is int,
            near=sum(later - earlier < 1_000_000 for earlier, later in zip(spread, spread[1:])), least=spread[0],
        )
    """)
    least = ended.output.pop("least")
    assert ended.output == {"same": True, "apart": 500, "typed": True, "near": 0}
    assert least > 0


def test_a_groups_message_shows_its_errors(run_body: Callable[[str], Ended]) -> None:
    ended = run_body("raise ExceptionGroup('all', [ValueError('a'), ExceptionGroup('more', [KeyError('b')])])")
    assert ended.message.splitlines()[-4:] == [
        "ExceptionGroup: all (2 sub-exceptions)",
        "  - ValueError: a",
        "  - ExceptionGroup: more (1 sub-exception)",
        "    - KeyError: 'b'",
    ]


# ---- advice ----------------------------------------------------------------------------------------------------------

ADVICE = {
    "a number of many digits": ("str(10 ** 5000)", "4300 digits"),
    "a text of many digits": ("int('9' * 5000)", "4300 digits"),
    "a protocol": ("import typing\nclass P(typing.Protocol): pass\nisinstance(1, P)", "runtime_checkable"),
    "a sum of texts": ("sum(['a'], '')", "''.join"),
}
# What messages of Python, or of ours, could name and flows lack.
_WORDS = "|".join(set(MISSING_BUILTINS) - {"input", "help"})
LACKING = re.compile(rf"\b(sys\.|codecs\.|inspect\.|importlib|pickle|asyncio|__\w+__|{_WORDS})\b")


def test_what_refusals_advise_is_there() -> None:
    """Each `module.name` in the texts of refusals.py can be imported."""
    texts = [value for name, table in vars(refusals).items() if isinstance(table, dict) and name != "__builtins__"
             for value in table.values()]  # fmt: skip
    named = re.findall(r"\b([a-z]+)\.([A-Za-z_]+)", " ".join(map(str, texts)))
    modules = {module for module, _name in named} - {"this", "system", "os", "point", "group", "x"}
    assert {"json", "calendar", "html", "string", "io"} <= modules
    for module, name in named:
        if module in modules:
            assert name in vars(FACADES[module]), f"{module}.{name}"


@pytest.mark.parametrize(("body", "words"), ADVICE.values(), ids=ADVICE)
def test_advice_names_only_what_flows_have(run_body: Callable[[str], Ended], body: str, words: str) -> None:
    ended = run_body(dedent(body))
    last = ended.message.splitlines()[-1]
    assert words in last
    assert not LACKING.search(last), last
    caught = "\n".join(f"    {line}" for line in body.splitlines())
    seen = run_body(f"try:\n{caught}\nexcept Exception as error:\n    this.set_output('text', str(error))")
    assert not LACKING.search(seen.output["text"]), seen.output
