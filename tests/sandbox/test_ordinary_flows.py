"""What people write, works: ordinary flows, each with its input and what comes of it (FLOW_API.md).

One table, and therefore one long file.
"""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from .far_side import WEBHOOK_INPUT, Ended

Case = tuple[str, str, Any]

# name, flow, expected output_value
FLOWS: list[Case] = [
    (
        "the example of the documentation",
        """
        import flow_api

        def handler(system: flow_api.System, this: flow_api.Execution):
            data = this.get('input_value')['json']
            this.log('order from', data['name'])
            this.set_output('greeting', f"Hello {data['name']}")
            return this.success('all done')
        """,
        {"greeting": "Hello Bob"},
    ),
    (
        "sums over a list of dicts",
        """
        def handler(system, this):
            items = this.get('input_value')['json']['items']
            this.set_output(total=sum(i['qty'] * i['price'] for i in items))
        """,
        {"total": 10.5},
    ),
    (
        "the third argument is the input",
        """
        def handler(system, this, inputs):
            this.set_output('name', inputs['json']['name'])
        """,
        {"name": "Bob"},
    ),
    (
        "counts with augmented assignment to items",
        """
        def handler(system, this):
            counts = {}
            for letter in 'hello':
                counts.setdefault(letter, 0)
                counts[letter] += 1
            this.set_output(counts)
        """,
        {"h": 1, "e": 1, "l": 2, "o": 1},
    ),
    (
        "a class with state, str, eq and len",
        """
        class Basket:
            total: float = 0.0
            def __init__(self, owner):
                self.owner = owner
                self.items = []
            def add(self, price, count=1):
                self.items.append((price, count))
                self.total += price * count
                return self
            def __len__(self):
                return len(self.items)
            def __str__(self):
                return f'{self.owner}: {self.total}'
            def __eq__(self, other):
                return self.total == other.total

        def handler(system, this):
            basket = Basket('Bob').add(2, 3).add(1.5)
            this.set_output(text=str(basket), size=len(basket), same=basket == Basket('x').add(7.5))
        """,
        {"text": "Bob: 7.5", "size": 2, "same": True},
    ),
    (
        "inheritance and super",
        """
        class Animal(object):
            def __init__(self, name):
                self.name = name
            def speak(self):
                return self.name + ' is silent'

        class Dog(Animal):
            def __init__(self, name, age=1):
                super().__init__(name)
                self.age = age
            def speak(self):
                return super().speak() + ', then barks'

        def handler(system, this):
            this.set_output('said', Dog('Rex').speak())
        """,
        {"said": "Rex is silent, then barks"},
    ),
    (
        "properties, static and class methods",
        """
        class Circle:
            made = 0
            def __init__(self, r):
                self.r = r
            @property
            def area(self):
                return 3 * self.r ** 2
            @area.setter
            def area(self, value):
                self.r = (value / 3) ** 0.5
            @staticmethod
            def unit():
                return Circle(1)
            @classmethod
            def count(cls):
                cls.made += 1
                return cls.made

        def handler(system, this):
            c = Circle.unit()
            c.area = 12
            Circle.count()
            this.set_output(r=c.r, made=Circle.count())
        """,
        {"r": 2.0, "made": 2},
    ),
    (
        "iterators, context managers and generators",
        """
        class Upto:
            def __init__(self, n):
                self.n = n
            def __iter__(self):
                return iter(range(self.n))
            def __enter__(self):
                return self
            def __exit__(self, kind, error, tb):
                return kind is not None and issubclass(kind, ValueError)

        def squares(numbers):
            for n in numbers:
                yield n * n

        def handler(system, this):
            with Upto(4) as up:
                result = list(squares(up))
            with up:
                raise ValueError('swallowed')
            this.set_output('result', result)
        """,
        {"result": [0, 1, 4, 9]},
    ),
    (
        "contextlib",
        """
        import contextlib

        seen = []

        @contextlib.contextmanager
        def opened(name):
            seen.append(f'open {name}')
            try:
                yield name.upper()
            except KeyError as error:
                seen.append(f'caught {error}')
            finally:
                seen.append(f'close {name}')

        class Thing:
            def close(self):
                seen.append('closed')

        @opened('by call')
        def twice(n):
            return n * 2

        def handler(system, this):
            with opened('a') as name:
                seen.append(name)
            with opened('b'):
                raise KeyError('k')
            try:
                with opened('c'):
                    raise ValueError('v')
            except ValueError as error:
                seen.append(repr(error))
            with contextlib.suppress(ValueError, KeyError):
                raise ExceptionGroup('both', [ValueError(1), KeyError(2)])
            try:
                with contextlib.suppress(ValueError):
                    raise ExceptionGroup('both', [ValueError(1), KeyError(2)])
            except ExceptionGroup as group:
                seen.append(repr(group.exceptions))
            with contextlib.closing(Thing()), contextlib.nullcontext(5) as five:
                seen.append(five)
            this.set_output(seen=seen, twice=[twice(2), twice(3)])
        """,
        {
            "seen": [
                *("open a", "A", "close a", "open b", "caught 'k'", "close b", "open c", "close c", "ValueError('v')"),
                *("(KeyError(2),)", 5, "closed", *(["open by call", "close by call"] * 2)),
            ],
            "twice": [4, 6],
        },
    ),
    (
        "a dataclass that completes itself",
        """
        import dataclasses

        @dataclasses.dataclass
        class Base:
            names: list = dataclasses.field(default_factory=list)
            def __post_init__(self):
                self.names.append('base')

        @dataclasses.dataclass
        class Row(Base):
            price: dataclasses.InitVar[int] = 2
            total: int = dataclasses.field(init=False)
            def __post_init__(self, price):
                super().__post_init__()
                self.total = price * 3

        def handler(system, this):
            this.set_output('row', dataclasses.asdict(Row(['a'], price=4)))
        """,
        {"row": {"names": ["a", "base"], "total": 12}},
    ),
    (
        "groups of errors",
        """
        def handler(system, this):
            try:
                raise ExceptionGroup('all', [ValueError('a'), ExceptionGroup('more', [KeyError('b')])])
            except ExceptionGroup as group:
                wrong, rest = group.split(ValueError)
                this.set_output(wrong=repr(wrong), rest=repr(rest), message=group.message)
        """,
        {
            "wrong": "ExceptionGroup('all', [ValueError('a')])",
            "rest": "ExceptionGroup('all', [ExceptionGroup('more', [KeyError('b')])])",
            "message": "all",
        },
    ),
    (
        "what newer Pythons have",
        """
        import copy, datetime, itertools, re

        def handler(system, this):
            try:
                re.compile('(')
            except re.PatternError:
                pass
            parts = list(itertools.batched('abcde', 2))
            this.set_output(parts=parts, day=copy.replace(datetime.date(2026, 1, 2), day=3))
        """,
        {"parts": [["a", "b"], ["c", "d"], ["e"]], "day": "2026-01-03"},
    ),
    (
        "closures with nonlocal",
        """
        def handler(system, this):
            count = 0
            def add(n):
                nonlocal count
                count += n
                return count
            this.set_output(all=[add(1), add(2), add(3)])
        """,
        {"all": [1, 3, 6]},
    ),
    (
        "unpacking of every kind",
        """
        def handler(system, this):
            a, (b, *c), d = 1, (2, 3, 4), 5
            first, *rest = 'xyz'
            pairs = {k: v for k, v in [('a', 1), ('b', 2)]}
            for i, (x, y) in enumerate([(1, 2), (3, 4)]):
                pairs[str(i)] = x * y
            def f(*args, **kwargs):
                return [*args, *sorted(kwargs.items())]
            this.set_output(v=[a, b, c, d, first, rest], f=f(*c, **pairs), merged={**pairs, 'z': 0})
        """,
        {
            "v": [1, 2, [3, 4], 5, "x", ["y", "z"]],
            "f": [3, 4, ["0", 2], ["1", 12], ["a", 1], ["b", 2]],
            "merged": {"a": 1, "b": 2, "0": 2, "1": 12, "z": 0},
        },
    ),
    (
        "errors caught, raised and reraised",
        """
        class TooMuch(Exception):
            def __init__(self, amount):
                super().__init__(f'too much: {amount}')
                self.amount = amount

        def handler(system, this):
            log = []
            try:
                raise TooMuch(7)
            except TooMuch as error:
                log.append([str(error), error.amount, list(error.args)])
            try:
                {}['missing']
            except (KeyError, IndexError) as error:
                log.append(repr(error))
            else:
                log.append('no')
            finally:
                log.append('finally')
            try:
                try:
                    1 / 0
                except ZeroDivisionError as error:
                    raise ValueError('converted') from error
            except ValueError:
                log.append('converted')
            this.set_output(log)
        """,
        [["too much: 7", 7, ["too much: 7"]], "KeyError('missing')", "finally", "converted"],
    ),
    (
        "text methods and every way to format",
        """
        def handler(system, this):
            name = 'bob'
            this.set_output(
                f=f'{name.title():>6}|{3.14159:.2f}|{name!r}|{1000000:,}',
                percent='%s has %d and %5.1f%%' % (name, 3, 12.345),
                format='{0} {1!r:>5} {n:05d}'.format(name, 'x', n=42),
                fields='{0[1]} {p.real:.1f} {d[key]}'.format([1, 2], p=2, d={'key': 'v'}),
                map='{a}-{b}'.format_map({'a': 1, 'b': 2}),
                join=', '.join(sorted(['b', 'a'])),
            )
        """,
        {
            "f": "   Bob|3.14|'bob'|1,000,000",
            "percent": "bob has 3 and  12.3%",
            "format": "bob   'x' 00042",
            "fields": "2 2.0 v",
            "map": "1-2",
            "join": "a, b",
        },
    ),
    (
        "builtins of all kinds",
        """
        def handler(system, this):
            numbers = [3, 1, 2]
            this.set_output([
                sum(numbers), min(numbers), max(numbers, key=lambda n: -n), any(numbers), all([]),
                sorted(numbers, reverse=True), list(reversed(numbers)), list(zip('ab', numbers)),
                list(map(str, numbers)), list(filter(None, [0, 1])), len(numbers), dict(a=1), sorted({1, 1}),
                bytes([65]).decode(), bytearray(b'ab').upper().decode(), next(iter(numbers)), isinstance(1, int),
                issubclass(bool, int), hasattr('', 'upper'), getattr('x', 'upper')(), getattr('x', 'nope', 5),
                format(3.14159, '.1f'), abs(-1), round(2.567, 1), divmod(7, 2), pow(2, 5, 7), chr(97), ord('a'),
                hex(255), bin(5), str(None), int('7'), float('1.5'), bool([]), type(1) == int, type('') is str,
                callable(len), repr('x'), list(range(3)), list(enumerate('a', 1)), frozenset([1]) == {1},
            ])
        """,
        [
            6, 1, 1, True, True, [3, 2, 1], [2, 1, 3], [["a", 3], ["b", 1]], ["3", "1", "2"], [1], 3, {"a": 1}, [1],
            "A", "AB", 3, True, True, True, "X", 5, "3.1", 1, 2.6, [3, 1], 4, "a", 97, "0xff", "0b101", "None", 7, 1.5,
            False, True, True, True, "'x'", [0, 1, 2], [[1, "a"]], True,
        ],
    ),
    (
        "dates, with time zones",
        """
        import datetime
        from datetime import timedelta
        from zoneinfo import ZoneInfo

        def handler(system, this):
            day = datetime.datetime.strptime('2026-03-29 01:30', '%Y-%m-%d %H:%M')
            vienna = day.replace(tzinfo=ZoneInfo('Europe/Vienna'))
            this.set_output(
                iso=day, day=day.date(), later=(day + timedelta(days=1)).strftime('%d.%m.%Y'),
                vienna=vienna.isoformat(), utc=vienna.astimezone(datetime.timezone.utc), delta=timedelta(minutes=1),
            )
        """,
        {
            "iso": "2026-03-29T01:30:00",
            "day": "2026-03-29",
            "later": "30.03.2026",
            "vienna": "2026-03-29T01:30:00+01:00",
            "utc": "2026-03-29T00:30:00+00:00",
            "delta": 60.0,
        },
    ),
    (
        "json, yaml, csv and base64",
        """
        import base64, csv, io, json
        import yaml

        def handler(system, this):
            rows = list(csv.DictReader(io.StringIO('a,b\\n1,2\\n3,4\\n')))
            out = io.StringIO()
            writer = csv.writer(out, delimiter=';')
            writer.writerow(['x', 'y z'])
            this.set_output(
                json=json.loads(json.dumps({'ä': [1, 2.5, None]}, indent=2, sort_keys=True)),
                yaml=yaml.safe_load('a: [1, x]\\nd: 2026-01-01\\n'),
                dumped=yaml.safe_dump({'b': 1, 'a': [True]}),
                rows=rows, csv=out.getvalue(),
                b64=base64.b64encode('grüß'.encode('utf-8')).decode('ascii'),
            )
        """,
        {
            "json": {"ä": [1, 2.5, None]},
            "yaml": {"a": [1, "x"], "d": "2026-01-01"},
            "dumped": "a:\n- true\nb: 1\n",
            "rows": [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}],
            "csv": "x;y z\r\n",
            "b64": "Z3LDvMOf",
        },
    ),
    (
        "regular expressions",
        """
        import re
        PATTERN = re.compile(r'(?P<user>\\w+)@(?P<host>[\\w.]+)', re.IGNORECASE)

        def handler(system, this):
            match = PATTERN.search('mail Bob@Example.com now')
            this.set_output(
                user=match.group('user'), host=match['host'], span=match.span(), all=match.groupdict(),
                sub=re.sub(r'\\d+', lambda m: str(int(m.group()) * 2), 'a1b22'), split=re.split(r'[,;]', 'a,b;c'),
                found=re.findall('[aeiou]', 'hello'),
            )
        """,
        {
            "user": "Bob",
            "host": "Example.com",
            "span": [5, 20],
            "all": {"user": "Bob", "host": "Example.com"},
            "sub": "a2b44",
            "split": ["a", "b", "c"],
            "found": ["e", "o"],
        },
    ),
    (
        "hashes and signatures",
        """
        import hashlib, hmac, secrets, uuid

        def handler(system, this):
            mac = hmac.new(b'key', b'body', hashlib.sha256).hexdigest()
            this.set_output(
                sha=hashlib.sha256(b'a').hexdigest()[:8], md5=hashlib.new('md5', b'a').hexdigest()[:8],
                same=hmac.compare_digest(mac, hmac.new(b'key', b'body', 'sha256').hexdigest()),
                token=len(secrets.token_hex(8)), uuid=len(str(uuid.uuid4())),
                uuid5=str(uuid.uuid5(uuid.NAMESPACE_DNS, 'example.com')),
            )
        """,
        {
            "sha": "ca978112",
            "md5": "0cc175b9",
            "same": True,
            "token": 16,
            "uuid": 36,
            "uuid5": "cfbff0d1-9375-5685-968c-48ce8b15ae17",
        },
    ),
    (
        "collections",
        """
        from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
        import collections.abc

        Point = namedtuple('Point', 'x y')

        def handler(system, this):
            groups = defaultdict(list)
            for word in ['apple', 'ant', 'bee']:
                groups[word[0]].append(word)
            queue = deque([1, 2], maxlen=2)
            queue.append(3)
            point = Point(1, y=2)
            this.set_output(
                groups=groups, most=Counter('hello').most_common(1), ordered=OrderedDict(a=1), queue=queue,
                point=point, moved=Point(5, point.y),
                mapping=isinstance({}, collections.abc.Mapping),
            )
        """,
        {
            "groups": {"a": ["apple", "ant"], "b": ["bee"]},
            "most": [["l", 2]],
            "ordered": {"a": 1},
            "queue": [2, 3],
            "point": [1, 2],
            "moved": [5, 2],
            "mapping": True,
        },
    ),
    (
        "dataclasses",
        """
        from dataclasses import asdict, dataclass, field, replace

        @dataclass
        class Item:
            name: str
            price: float = 1.0
            tags: list = field(default_factory=list)

        @dataclass(frozen=True, order=True)
        class Version:
            major: int
            minor: int = 0

        def handler(system, this):
            item = Item('pen', tags=['new'])
            item.price *= 3
            this.set_output(
                item=asdict(item), text=repr(item), same=item == Item('pen', 3.0, ['new']),
                newest=asdict(max(Version(1, 2), Version(1, 10))), other=asdict(replace(item, name='ink')),
            )
        """,
        {
            "item": {"name": "pen", "price": 3.0, "tags": ["new"]},
            "text": "Item(name='pen', price=3.0, tags=['new'])",
            "same": True,
            "newest": {"major": 1, "minor": 10},
            "other": {"name": "ink", "price": 3.0, "tags": ["new"]},
        },
    ),
    (
        "dataclasses with annotations as text",
        """
        from __future__ import annotations
        from dataclasses import asdict, dataclass
        from typing import ClassVar

        @dataclass
        class Node:
            name: str
            parent: Node | None = None
            kind: ClassVar[str] = 'node'

        def handler(system, this):
            this.set_output(asdict(Node('a', Node('b'))))
        """,
        {"name": "a", "parent": {"name": "b", "parent": None}},
    ),
    (
        "enums",
        """
        from enum import Enum, IntEnum, auto, unique

        @unique
        class Color(Enum):
            RED = 'r'
            GREEN = 'g'
            def label(self):
                return self.name.lower()

        class Level(IntEnum):
            LOW = auto()
            HIGH = auto()

        Shape = Enum('Shape', ['SQUARE', 'CIRCLE'])

        def handler(system, this):
            this.set_output(
                red=Color('r').name, label=Color.GREEN.label(), all=[c.value for c in Color], item=Color['RED'],
                level=Level.HIGH, sum=Level.LOW + 1, shape=Shape.CIRCLE.value, count=len(Shape),
            )
        """,
        {
            "red": "RED", "label": "green", "all": ["r", "g"], "item": "r", "level": 2, "sum": 2, "shape": 2,
            "count": 2,
        },
    ),
    (
        "functools, itertools and operator",
        """
        from functools import lru_cache, partial, reduce, total_ordering, wraps
        import itertools
        from operator import itemgetter

        def twice(function):
            @wraps(function)
            def inner(*args, **kwargs):
                return function(*args, **kwargs) * 2
            return inner

        @twice
        def add(a, b):
            return a + b

        @lru_cache(maxsize=None)
        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        @total_ordering
        class Size:
            def __init__(self, n):
                self.n = n
            def __eq__(self, other):
                return self.n == other.n
            def __lt__(self, other):
                return self.n < other.n

        def handler(system, this):
            rows = [{'k': 'b', 'v': 1}, {'k': 'a', 'v': 2}, {'k': 'b', 'v': 3}]
            rows.sort(key=itemgetter('k'))
            grouped = {k: [r['v'] for r in g] for k, g in itertools.groupby(rows, key=itemgetter('k'))}
            this.set_output(
                add=add(1, 2), fib=fib(50), reduce=reduce(lambda a, b: a * b, [1, 2, 3, 4]),
                partial=partial(int, base=2)('101'), grouped=grouped, greater=Size(2) >= Size(1),
                chain=list(itertools.chain([1], [2, 3])), product=len(list(itertools.product('ab', repeat=3))),
            )
        """,
        {
            "add": 6, "fib": 12586269025, "reduce": 24, "partial": 5, "grouped": {"a": [2], "b": [1, 3]},
            "greater": True, "chain": [1, 2, 3], "product": 8,
        },
    ),
    (
        "exact and statistical numbers",
        """
        import math, statistics
        from decimal import ROUND_HALF_UP, Decimal, getcontext, localcontext
        from fractions import Fraction

        def handler(system, this):
            getcontext().prec = 10
            with localcontext() as context:
                context.prec = 3
                third = Decimal(1) / 3
            this.set_output(
                price=(Decimal('2.675') * 2).quantize(Decimal('0.01'), rounding=ROUND_HALF_UP), third=third,
                seventh=Decimal(1) / 7, half=float(Fraction(1, 3) + Fraction(1, 6)), root=math.sqrt(16),
                pi=round(math.pi, 4), mean=statistics.mean([1, 2, 3, 4]), median=statistics.median([3, 1, 2]),
            )
        """,
        {
            "price": "5.35", "third": "0.333", "seventh": "0.1428571429", "half": 0.5, "root": 4.0, "pi": 3.1416,
            "mean": 2.5, "median": 2,
        },
    ),
    (
        "paths, URLs and HTML",
        """
        import os
        import os.path as p
        import html
        from urllib.parse import parse_qs, quote, urlencode, urljoin, urlparse
        from xml.sax.saxutils import escape

        def handler(system, this):
            url = urlparse('https://example.com:8443/a/b?x=1&y=2&y=3#top')
            folder, name = os.path.split('flows/sub/test.py')
            this.set_output(
                host=url.hostname, port=url.port, query=parse_qs(url.query), joined=urljoin('http://a/b/', '../c'),
                encoded=urlencode({'q': 'a b&c'}), quoted=quote('ä/ö'), folder=folder, stem=p.splitext(name)[0],
                path=os.path.join('a', 'b'), html=html.escape('<a href="x">'), xml=escape('<&>'),
            )
        """,
        {
            "host": "example.com", "port": 8443, "query": {"x": ["1"], "y": ["2", "3"]}, "joined": "http://a/c",
            "encoded": "q=a+b%26c", "quoted": "%C3%A4/%C3%B6", "folder": "flows/sub", "stem": "test", "path": "a/b",
            "html": "&lt;a href=&quot;x&quot;&gt;", "xml": "&lt;&amp;&gt;",
        },
    ),
    (
        "text tools",
        """
        import string, textwrap, difflib, fnmatch, unicodedata
        from string import Template

        def handler(system, this):
            this.set_output(
                wrapped=textwrap.fill('the quick brown fox', 10), dedent=textwrap.dedent('  a\\n  b'),
                template=Template('Dear $name, $$5').substitute(name='Bob'), letters=string.ascii_lowercase[:3],
                close=difflib.get_close_matches('appel', ['ape', 'apple', 'peach'])[0],
                match=fnmatch.fnmatch('a.txt', '*.txt'), plain=unicodedata.normalize('NFKD', 'é')[0],
                caps=string.capwords('hello world'),
            )
        """,
        {
            "wrapped": "the quick\nbrown fox", "dedent": "a\nb", "template": "Dear Bob, $5", "letters": "abc",
            "close": "apple", "match": True, "plain": "e", "caps": "Hello World",
        },
    ),
    (
        "binary data",
        """
        import binascii, struct, zlib, io

        def handler(system, this):
            packed = struct.pack('>HI', 1, 2)
            buffer = io.BytesIO(packed)
            this.set_output(
                hex=binascii.hexlify(packed).decode(), unpacked=struct.unpack('>HI', buffer.read()),
                roundtrip=zlib.decompress(zlib.compress(b'x' * 100)) == b'x' * 100, crc=zlib.crc32(b'a'), raw=b'ab',
            )
        """,
        {"hex": "000100000002", "unpacked": [1, 2], "roundtrip": True, "crc": 3904355907, "raw": "YWI="},
    ),
    (
        "networks and calendars",
        """
        import calendar, ipaddress, heapq, bisect, copy

        def handler(system, this):
            net = ipaddress.ip_network('10.0.0.0/30')
            heap = [5, 1, 4]
            heapq.heapify(heap)
            deep = copy.deepcopy({'a': [1, {'b': 2}]})
            deep['a'][1]['b'] += 1
            this.set_output(
                hosts=[str(h) for h in net.hosts()], inside=ipaddress.ip_address('10.0.0.1') in net,
                days=calendar.monthrange(2028, 2)[1], leap=calendar.isleap(2028), least=heapq.heappop(heap),
                at=bisect.bisect([1, 3, 5], 4), deep=deep, name=calendar.day_name[0],
            )
        """,
        {
            "hosts": ["10.0.0.1", "10.0.0.2"], "inside": True, "days": 29, "leap": True, "least": 1, "at": 2,
            "deep": {"a": [1, {"b": 3}]}, "name": "Monday",
        },
    ),
    (
        "chance",
        """
        import random

        def handler(system, this):
            random.seed(7)
            first = [random.randint(1, 100) for i in range(3)]
            random.seed(7)
            own = random.Random(7)
            this.set_output(
                same=first == [random.randint(1, 100) for _ in range(3)] == [own.randint(1, 100) for _ in range(3)],
                choice=random.choice(['x']), shuffled=sorted(random.sample(range(10), 10)) == list(range(10)),
            )
        """,
        {"same": True, "choice": "x", "shuffled": True},
    ),
    (
        "annotations of every kind",
        """
        from typing import Any, Dict, List, NamedTuple, Optional, TypedDict, Union

        class Order(NamedTuple):
            id: int
            note: Optional[str] = None

        class Row(TypedDict, total=False):
            a: int

        limit: int = 3

        def total(numbers: List[int], extra: Union[int, None] = None, *rest: Any) -> Dict[str, int]:
            result: dict[str, int] = {'total': sum(numbers) + (extra or 0)}
            return result

        def handler(system, this):
            self_check: 'later' = 1
            row: Row = {'a': 1}
            this.set_output(order=Order(1), row=row, **total([1, 2], limit))
        """,
        {"order": [1, None], "row": {"a": 1}, "total": 6},
    ),
    (
        "comprehensions, walrus, slices, conditionals",
        """
        def handler(system, this):
            data = list(range(10))
            matrix = [[i * j for j in range(3)] for i in range(3)]
            found = [y for x in data if (y := x * x) > 50]
            text = 'abcdef'
            data[2:5] = ['x']
            del data[0], data[-1]
            this.set_output(
                matrix=matrix, found=found, text=[text[1:4], text[::-1], text[-2]], data=data,
                flat=sorted({cell for row in matrix for cell in row}), big='yes' if len(found) > 1 else 'no',
            )
        """,
        {
            "matrix": [[0, 0, 0], [0, 1, 2], [0, 2, 4]], "found": [64, 81], "text": ["bcd", "fedcba", "e"],
            "data": [1, "x", 5, 6, 7, 8], "flat": [0, 1, 2, 4], "big": "yes",
        },
    ),
    (
        "globals and module level code",
        """
        SEEN = []
        LIMIT = 2
        counter = 0

        def note(x):
            global counter
            counter += 1
            SEEN.append(x)

        for start in range(LIMIT):
            note(start)

        def handler(system, this):
            note('handler')
            this.set_output(seen=SEEN, counter=counter)
        """,
        {"seen": [0, 1, "handler"], "counter": 3},
    ),
    (
        "headers ignore case, data_json is json",
        """
        def handler(system, this):
            inputs = this.get('input_value')
            headers = inputs['headers']
            this.set_output(
                event=headers['X-GitHub-Event'], get=headers.get('x-GITHUB-event'), none=headers.get('Nope'),
                inside='X-GitHub-Event' in headers, name=inputs['data_json']['name'],
                get2=inputs.get('data_json')['name'], method=inputs['method'],
            )
        """,
        {
            "event": "push", "get": "push", "none": None, "inside": True, "name": "Bob", "get2": "Bob",
            "method": "POST",
        },
    ),
    (
        "outputs in all three forms, then replaced",
        """
        def handler(system, this):
            this.set_output('a', 1)
            this.set_output(b=2, c=3)
            this.save(output_value={**this.get('output_value'), 'd': 4}, message='saved')
            this.set_output(5, 'five')
            this.set(name='renamed')
            this.set_output(all=this.get('name', 'message', 'flow_name'))
        """,
        {"a": 1, "b": 2, "c": 3, "d": 4, "5": "five", "all": ["renamed", "saved", "signup"]},
    ),
    (
        "who runs",
        """
        def handler(system, this):
            this.set_output(
                user=system.get_own_user().get('name'), client=system.get_own_client().get('name'),
                env=system.get_env_name(), webhook=this.get('webhook_name'), status=this.get('status'),
            )
        """,
        {"user": "kevin", "client": "acme", "env": "test", "webhook": "signup", "status": "RUNNING"},
    ),
    (
        "a retry loop with a bare except",
        """
        def fetch(tries):
            if tries < 2:
                raise OSError('flaky')
            return 'ok'

        def handler(system, this):
            for tries in range(5):
                try:
                    result = fetch(tries)
                    break
                except:
                    this.log('failed', tries=tries)
            this.set_output(result=result, tries=tries)
            this.success('done')
        """,
        {"result": "ok", "tries": 2},
    ),
    (
        "time and sleep",
        """
        import time

        def handler(system, this):
            begun = time.monotonic()
            time.sleep(0.5)
            this.sleep(1)
            this.sleep_until(0)
            this.set_output(
                quick=time.monotonic() - begun < 60, year=time.strftime('%Y', time.gmtime(0)), now=time.time() > 1e9
            )
        """,
        {"quick": True, "year": "1970", "now": True},
    ),
    (
        "decorators on methods and a cached property",
        """
        from functools import cached_property

        def logged(f):
            def inner(self, *args):
                self.calls += 1
                return f(self, *args)
            return inner

        class Service:
            def __init__(self):
                self.calls = 0
            @logged
            def run(self, x):
                return x + 1
            @cached_property
            def slow(self):
                self.calls += 10
                return 'value'

        def handler(system, this):
            s = Service()
            this.set_output(a=s.run(1), b=s.slow + s.slow, calls=s.calls)
        """,
        {"a": 2, "b": "valuevalue", "calls": 11},
    ),
    (
        "a sorted report with defaults and or",
        """
        def handler(system, this, inputs):
            data = (inputs or {}).get('json') or {}
            rows = sorted(data.get('items', []), key=lambda r: (-r['price'], r['qty']))
            lines = ['{:<5}{:>6.2f}'.format(r['qty'], r['price']) for r in rows]
            return this.success(message=lines[0]) if not lines else this.end('success', '\\n'.join(lines))
        """,
        {},
    ),
    (
        "assert, while, else, pass, del, ellipsis",
        """
        def todo(): ...

        def handler(system, this):
            n, seen = 10, {}
            while n:
                n -= 3
                if n < 0:
                    break
                seen[n] = True
            else:
                seen['else'] = True
            for _ in []:
                pass
            else:
                seen['for'] = todo() is None
            del seen[7]
            assert n == -2, 'counted wrong'
            this.set_output(seen)
        """,
        {"4": True, "1": True, "for": True},
    ),
    (
        "sets and dict views",
        """
        def handler(system, this):
            a, b = {1, 2, 3}, {2, 3, 4}
            d = {'x': 1, 'y': 2}
            this.set_output(
                both=sorted(a & b), either=sorted(a | b), only=sorted(a - b), sym=sorted(a ^ b), keys=list(d.keys()),
                items=[list(i) for i in d.items()], swapped={v: k for k, v in d.items()}, pop=d.pop('x'),
                merged=d | {'z': 3}, a=a, frozen=frozenset('b'),
            )
        """,
        {
            "both": [2, 3], "either": [1, 2, 3, 4], "only": [1], "sym": [1, 4], "keys": ["x", "y"],
            "items": [["x", 1], ["y", 2]], "swapped": {"1": "x", "2": "y"}, "pop": 1, "merged": {"y": 2, "z": 3},
            "a": [1, 2, 3], "frozen": ["b"],
        },
    ),
    (
        "bytes in the encodings of the wild",
        """
        def handler(system, this):
            names = ['latin-1', 'cp1252', 'cp437', 'utf-16', 'utf-8-sig', 'iso8859-15', 'mac-roman', 'cp850']
            texts = ['ä'.encode(name).decode(name) for name in names]
            this.set_output(texts=texts, puny='ä.at'.encode('idna').decode())
        """,
        {"texts": ["ä"] * 8, "puny": "xn--4ca.at"},
    ),
    (
        "strings with every odd character",
        """
        def handler(system, this):
            this.set_output('odd', 'ä€😀\\u2028\\x00"\\\\\\n')
        """,
        {"odd": 'ä€😀\u2028\x00"\\\n'},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), [case[1:] for case in FLOWS], ids=[case[0] for case in FLOWS])
def test_an_ordinary_flow_works(run_flow: Callable[..., Ended], source: str, expected: Any) -> None:
    ended = run_flow(dedent(source), WEBHOOK_INPUT)
    assert (ended.status, ended.message.startswith("Traceback")) == ("ENDED_SUCCESS", False), ended.message
    assert ended.output == expected


def test_there_are_at_least_forty() -> None:
    assert len(FLOWS) >= 40
