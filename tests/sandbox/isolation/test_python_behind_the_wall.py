"""What flows need works in a fully walled worker; what honest code tries by mistake is an exception and not a death."""

from __future__ import annotations

import pytest

from .walled import Zygote

WORKS = {
    "json": 'import json; value = json.loads(json.dumps({"a": [1, 2.5, None, "ü"] * 1000}))["a"][3]',
    "decimal": 'value = str(decimal.Decimal("1.1") ** 50 + decimal.Context(prec=500).sqrt(decimal.Decimal(2)))[:3]',
    "re": r'value = len(re.findall(r"(\w+)@(\w+)", "a@b " * 5000))',
    "hashlib": "value = [len(hashlib.new(name, b'x').digest()) for name in ('md5', 'sha1', 'sha256', 'sha3_512')]"
    "; value.append(len(hashlib.blake2b(b'x').digest()))",
    "hashlib, slow": 'value = len(hashlib.pbkdf2_hmac("sha256", b"p", b"s", 1000))',
    "hmac": 'value = len(hmac.new(b"key", b"text", "sha512").hexdigest())',
    "random": "random.seed(); value = len(random.sample(range(100), 10))",
    "secrets": "value = len(secrets.token_hex(16)) + len(os.urandom(10))",
    "uuid": "value = len(str(uuid.uuid4())) + len(str(uuid.uuid5(uuid.NAMESPACE_DNS, 'x')))",
    "datetime": 'value = datetime.datetime.strptime("2026-11-23 10", "%Y-%m-%d %H").astimezone().isoformat()[:4]',
    "datetime, now": "value = datetime.datetime.now(datetime.timezone.utc).year > 2000",
    "time": 'value = len([time.time(), time.monotonic(), time.process_time(), time.strftime("%c"), time.localtime()])',
    "calendar": "value = calendar.monthrange(2028, 2)[1]",
    "statistics": "value = statistics.stdev(range(100)) > 0 and statistics.NormalDist(0, 1).cdf(0.0)",
    "fractions": "value = str(sum(fractions.Fraction(1, n) for n in range(1, 50)))[:3]",
    "dataclasses": "exec('@dataclasses.dataclass\\nclass P:\\n  x: int = 1', globals()); value = P().x",
    "enum": "value = enum.Enum('E', 'A B').A.value",
    "collections": "value = collections.Counter('abracadabra').most_common(1)[0][1]",
    "csv": "import io; value = list(csv.reader(io.StringIO('a,b\\n1,2')))[1]",
    "difflib": "value = difflib.get_close_matches('appel', ['ape', 'apple'])",
    "urllib": "value = urllib.parse.urlsplit('https://a.example/b?c=d').query",
    "ipaddress": "value = str(ipaddress.ip_network('10.0.0.0/8').network_address)",
    "unicodedata": "value = unicodedata.name('ü')",
    "zlib": "value = len(zlib.decompress(zlib.compress(b'x' * 1000000)))",
    "base64": "value = base64.b64encode(b'x').decode()",
    "textwrap and string": "value = textwrap.dedent('  a') + string.Template('$x').substitute(x=1)",
    "codecs": "value = 'ü'.encode('latin-1').decode('cp1252') + 'ü'.encode('utf-16').decode('utf-16')",
    "sorting": "value = sorted(range(200000), key=lambda n: -n)[0]",
    "large blocks": "value = sum(len(bytearray(n * 1024 * 1024)) for n in (1, 5, 20, 3)) > 0",
    "a block that grows": "b = bytearray()\nfor _ in range(200): b += bytes(100000)\nvalue = len(b)",
    "many small blocks": "x = [str(n) for n in range(200000)]; x = x[::7]; gc.collect(); value = len(x)",
    "threads' locks": "lock = threading.RLock(); lock.acquire(); lock.release(); value = threading.Event().wait(0.001)",
    "big integers": "value = len(str(3 ** 5000))",
    "exceptions": "exec('try:\\n  1/0\\nexcept ZeroDivisionError as e:\\n  value = str(e)', globals()); value = 1",
}

BECOMES_AN_EXCEPTION = {
    "a late import": ("import wave", "ModuleNotFoundError"),
    "a late import of C code": ("import _ctypes_test", "ModuleNotFoundError"),
    "an unknown codec": ('"x".encode("no-such-codec")', "LookupError"),
    "a codec that is not loaded": ('"x".encode("cp1006")', "LookupError"),
    "opening a file": ('open("/etc/passwd")', "PermissionError"),
    "a directory": ('os.listdir("/")', "PermissionError"),
    "the working directory": ("os.getcwd()", "PermissionError"),
    "the host's name": ("os.uname()", "PermissionError"),
    "a terminal": ("os.get_terminal_size(3)", "PermissionError"),
    "sleeping": ("time.sleep(0.01)", "PermissionError"),
    "standard output": ("os.write(1, b'x')", "OSError"),
    "the log": ("os.write(2, b'x')", "OSError"),
    "an unknown time zone": ('zoneinfo.ZoneInfo("Antarctica/Troll")', "ZoneInfoNotFoundError"),
    "endless recursion": ("f = lambda: f(); f()", "RecursionError"),
    "one block past the limit": ("bytearray(1 << 33)", "MemoryError"),
    "a list past the limit": ("x = []\nwhile True: x.append(bytes(100000))", "MemoryError"),
    "small objects past the limit": ("x = []\nwhile True: x.append([x])", "MemoryError"),
    "a string past the limit": ("x = 'x'\nwhile True: x += x", "MemoryError"),
    "a dictionary past the limit": ("x = {}\nwhile True: x[len(x)] = str(len(x))", "MemoryError"),
    "an integer past the limit": ("1 << (1 << 40)", "MemoryError"),
}


@pytest.mark.parametrize("source", WORKS.values(), ids=WORKS)
def test_works(zygote: Zygote, source: str) -> None:
    ended = zygote.run(source)
    assert ended["exit"] == 0
    assert ended.get("value") not in (None, False) or "wait" in source, ended


@pytest.mark.parametrize(("source", "error"), BECOMES_AN_EXCEPTION.values(), ids=BECOMES_AN_EXCEPTION)
def test_becomes_an_exception(zygote: Zygote, source: str, error: str) -> None:
    ended = zygote.run(source)
    assert (ended["exit"], ended.get("error")) == (0, error), ended


def test_a_preloaded_time_zone_works(zygote: Zygote) -> None:
    ended = zygote.run("value = VIENNA and datetime.datetime(2026, 7, 1, tzinfo=VIENNA).isoformat()")
    if ended["value"] is None:
        pytest.skip("this host has no time zone data")
    assert ended["value"] == "2026-07-01T00:00:00+02:00"


def test_a_print_is_silent(zygote: Zygote) -> None:
    assert zygote.run("print('to nowhere'); value = 1") == {"exit": 0, "value": 1}


@pytest.mark.parametrize("megabytes", [8, 32, 128])
def test_the_memory_limit_counts_from_what_the_worker_has(zygote: Zygote, megabytes: int) -> None:
    """Nine tenths of it can be taken, some MB more cannot: free blocks of the zygote's heap come on top."""
    size = megabytes * 1024 * 1024
    fits = zygote.run(f"value = len(bytearray({size * 9 // 10}))", memory_bytes=size)
    assert fits["value"] == size * 9 // 10
    assert zygote.run(f"bytearray({size + 16 * 1024 * 1024})", memory_bytes=size)["error"] == "MemoryError"


def test_python_goes_on_after_a_memory_error(zygote: Zygote) -> None:
    source = """
x = []
try:
    while True:
        x.append(bytes(10000))
except MemoryError:
    count = len(x)
    del x
value = [count > 100, len([str(n) for n in range(100000)])]
"""
    assert zygote.run(source)["value"] == [True, 100000]
