"""Requests made up at random: plain ones, ones that miss being plain by a little, wild ones, mutations of the corpus.

Everything comes from the Random that is passed in, so that a seed stands for its streams.
"""

from __future__ import annotations

from random import Random

from .corpus import CASES, LIMITS

PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"0", b"5", b"ffffffffffffffffff",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Connection: close\r\n",
    b"Expect: 100-continue\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\r\n", b"\xff",
    b"a" * 300, b"X: " + b"a" * 1100 + b"\r\n",
]  # fmt: skip

PLAIN_METHODS = [b"GET", b"POST", b"HEAD", b"DELETE"]
PLAIN_TARGETS = [b"/", b"/a/b?c=d&e", b"/a%20b", b"//x", b'/x[]={"y"}|z', b"/~!$&'()*+,;=:@"]
PLAIN_HOSTS = [b"a", b"hooks.example.com", b"127.0.0.1:8080", b"a-b.c:1"]
PLAIN_NAMES = [b"Accept", b"content-type", b"X-Request-ID", b"USER-AGENT", b"!#$%&'*+-.^_`|~9", b"Authorization"]
PLAIN_VALUES = [b"", b"a", b"*/*", b"a b\tc", b"x: y, z", b"~" * 40, b"application/json; charset=utf-8"]

METHODS = [*PLAIN_METHODS, b"PUT", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"BREW", b"GE", b"", b"A" * 33]
TARGETS = [*PLAIN_TARGETS, b"*", b"http://b/x", b"https://b:1?y", b"a:80", b"/a#b", b"/\xe9", b"", b"/a b", b"/\x7f"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 "]
HOSTS = [*PLAIN_HOSTS, b"", b"[::1]:80", b"a%2db", b"a:", b"a:123456", b"a_b", b"u@a", b"a b", b"\xe9", b"a/b", b"."]
NAMES = [*PLAIN_NAMES, b"Host", b"Upgrade", b"TE", b"X Y", b"X ", b"", b"X\xe9", b"X(", b" X", b"Content-length"]
VALUES = [*PLAIN_VALUES, b"caf\xe9", b"\0", b"a\x01", b"a\rb", b"a\nb", b"a\x7f", b"a\x0b", b"a\r", b"a\r\n b", b"\x80"]
LENGTHS = [b"+1", b"-1", b"0x1", b"1_0", b"", b"1, 1", b"1 1", b"9" * 18, b"9" * 19, b"0" * 20 + b"1", b"\xb2", b"2000"]
OPTIONS = [b"keep-alive", b"Keep-Alive", b"close", b"keep-alive, close", b"upgrade", b"", b"closed", b"keep-alive,"]
EXPECTATIONS = [b"100-continue", b"100-Continue", b"the-worst"]
CODINGS = [b"chunked", b"Chunked", b"gzip, chunked", b"identity", b""]
SPACES = [b" ", b" ", b" ", b"", b"\t", b"  ", b" \t "]
CHUNKS = [
    b"0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"3\r\nab",
    b"3\nabc\r\n0\r\n\r\n",
]


def plain_request(random: Random) -> bytes:
    """A request that the fast path is for, sometimes just within or just over a limit."""
    target = random.choice(PLAIN_TARGETS)
    if random.random() < 0.05:
        target = b"/" + b"a" * (LIMITS["max_target_bytes"] - random.randint(0, 2))
    names = random.sample(PLAIN_NAMES, random.randint(0, 5))
    fields = [(name, random.choice(PLAIN_VALUES)) for name in names]
    fields.append((_spelled(b"Host", random), random.choice(PLAIN_HOSTS)))
    if random.random() < 0.3:
        fields.append((_spelled(b"Connection", random), random.choice(OPTIONS[:2])))
    body = random.choice(VALUES) * random.randint(0, 3)
    if body or random.random() < 0.3:
        fields.append((_spelled(b"Content-Length", random), b"%d" % len(body)))
    random.shuffle(fields)
    lines = [name + b":" + (random.choice(SPACES) if value else b"") + value + b"\r\n" for name, value in fields]
    if random.random() < 0.05:
        rest = LIMITS["max_header_bytes"] - sum(map(len, lines)) - len(b"Y:\r\n")
        lines.append(b"Y:" + b"y" * (rest + random.randint(-1, 1)) + b"\r\n")
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (random.choice(PLAIN_METHODS), target, b"".join(lines), body)


def nearly_plain_request(random: Random) -> bytes:
    """A plain request with one byte, piece or line of its head changed."""
    data = bytearray(plain_request(random))
    size = data.find(b"\r\n\r\n") + 4
    at = random.randrange(size)
    match random.randrange(5):
        case 0:
            data[at] = random.randrange(256)
        case 1:
            data[at:at] = bytes([random.choice(b"\0\t\n\r :,;0aA/\x7f\xff")])
        case 2:
            del data[at]
        case 3:
            data[at:at] = random.choice(PIECES)
        case _:
            data[data.find(b"\n") + 1 : data.find(b"\n") + 1] = _line(random)
    return bytes(data)


def wild_request(random: Random) -> bytes:
    """A request in which anything may be wrong, though most of it seldom is."""
    fields = [_line(random) for _ in range(random.randint(0, 3))]
    if random.random() < 0.9:
        fields.append(_field(b"Host", random.choice(HOSTS), random))
    body = b""
    if random.random() < 0.5:
        body = random.choice(VALUES) * random.randint(0, 3)
        length = random.choice(LENGTHS) if random.random() < 0.2 else b"%d" % (len(body) + (random.random() < 0.1))
        fields.append(_field(b"Content-Length", length, random))
    if random.random() < 0.2:
        fields.append(_field(b"Transfer-Encoding", random.choice(CODINGS), random))
        body = random.choice(CHUNKS)
    random.shuffle(fields)
    line = b" ".join((random.choice(METHODS), random.choice(TARGETS), random.choice(VERSIONS)))
    empty = b"\r\n" * random.randint(0, 9) if random.random() < 0.1 else b""
    return b"%b%b\r\n%b\r\n%b" % (empty, line, b"".join(fields), body)


def mutate(stream: bytes, random: Random) -> bytes:
    """`stream` with one to four pieces cut out, put in, changed, doubled or taken from other streams."""
    data = bytearray(stream)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data))
        match random.randrange(6):
            case 0:
                data[at : at + random.randint(1, 8)] = b""
            case 1:
                data[at:at] = random.choice(PIECES)
            case 2 if data:
                data[at % len(data)] = random.randrange(256)
            case 3:
                data[at:at] = data[at : at + random.randint(1, 60)]
            case 4:
                other = random.choice(CASES).stream
                start = random.randint(0, len(other))
                data[at:at] = other[start : start + random.randint(1, 60)]
            case _:
                data += random.choice(CASES).stream[:500]
    return bytes(data[:4000])


def any_stream(random: Random) -> bytes:
    """One to four requests in a row; now and then the same one again, as pollers send it."""
    stream = b""
    for _ in range(random.choice((1, 1, 2, 4))):
        match random.randrange(8):
            case 0 | 1 | 2:
                request = plain_request(random)
            case 3 | 4 | 5:
                request = nearly_plain_request(random)
            case 6:
                request = wild_request(random)
            case _:
                request = mutate(random.choice(CASES).stream, random)
        stream += request * random.choice((1, 1, 1, 2))
    return stream


def _line(random: Random) -> bytes:
    match random.randrange(6):
        case 0:
            return _field(b"Connection", random.choice(OPTIONS), random)
        case 1:
            return _field(b"Expect", random.choice(EXPECTATIONS), random)
        case 2:
            return _field(b"Host", random.choice(HOSTS), random)
        case 3:
            return _field(b"Content-Length", random.choice(LENGTHS), random)
        case _:
            return _field(random.choice(NAMES), random.choice(VALUES), random)


def _field(name: bytes, value: bytes, random: Random) -> bytes:
    end = b"\r\n" if random.random() < 0.97 else random.choice((b"\n", b"\r", b" \r\n", b"\t\r\n", b"\r\n ", b""))
    return _spelled(name, random) + b":" + random.choice(SPACES) + value + end


def _spelled(name: bytes, random: Random) -> bytes:
    return random.choice((name, name, name.lower(), name.upper()))
