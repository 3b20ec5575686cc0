"""Everything that flows are offered, name by name, with the judgement that it was offered under.

The language layer has been left where a function of the library called back, on behalf of a flow, into what the guards
stand before: attributes read or written under a name that the flow chose, a class that was called, pickling. So each
name was looked at for that, on Python 3.11, 3.12 and 3.13, which offer the same; a name that is not in JUDGED must be
looked at before it is offered. Read its source, or in C what it does with the objects that it is given:

- Does it read, write or format an attribute whose name the flow can choose (getattr, setattr, attrgetter, str.format)?
- Does it ask an object for its class and call that (`x.__class__(…)`, `type(x)(…)`), or how it pickles?
- Does it hand something of the library's own to a method of the flow's (a table, a memo, a module's dict)?
- Does it keep what it is given (test_library_memory.py will say so)?
- Does it run text as code, or wait for something?

The judgements:

values              no callables, and nothing that can be changed
errors              classes of errors; flows may subclass them
data                C code, or Python, that asks what it is given only to be a text, a number, bytes or iterable, to
                    compare and to hash
methods             Python code that also calls methods by fixed public names (`x.split`, `stream.write`), with texts,
                    numbers and fresh objects only. Of these statistics calls `type(x)` with one number, which no class
                    of the interpreter answers with more than an error or a class that is offered anyway
calls               calls functions that it is given, with the flow's own objects or fresh ones. heapq.merge also
                    iterates over `__self__` of an iterator's `__next__`: it gives items and never that object
exact               remembers what it is given: as exact texts and numbers, modules/library.py
contexts            changes the context of the execution, which is put back at its end (program.py)
copies              copies by modules/copying.py, which asks no object how it pickles
classes             makes or changes classes and descriptors of the flow's: modules/classes.py, class_building.py
marks               for annotations; never evaluated, forgotten at the end
classes in C        methods check the type of `self` themselves
classes in Python   methods are held to instances (modules/methods.py), see the second test
ours                written or wrapped for flows in whd/sandbox
"""

from __future__ import annotations

import types
from typing import Any

import pytest

from whd.sandbox.flow_builtins import BUILTINS
from whd.sandbox.modules import FACADES, RUN_FACADES, methods
from whd.sandbox.modules.facade import public_names

JUDGED = {
    "values": """
        __future__: absolute_import annotations barry_as_FLUFL division generator_stop generators nested_scopes
            print_function unicode_literals with_statement
        builtins: Ellipsis False None NotImplemented True
        calendar: FRIDAY MONDAY SATURDAY SUNDAY THURSDAY TUESDAY WEDNESDAY day_abbr day_name month_abbr
            month_name
        collections: abc
        csv: QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC
        dataclasses: KW_ONLY MISSING
        datetime: MAXYEAR MINYEAR UTC
        decimal: MAX_EMAX MAX_PREC MIN_EMIN MIN_ETINY ROUND_05UP ROUND_CEILING ROUND_DOWN ROUND_FLOOR
            ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP
        hashlib: algorithms_available algorithms_guaranteed
        math: e inf nan pi tau
        os: altsep curdir extsep linesep pardir path pathsep sep
        os.path: altsep curdir extsep pardir pathsep sep
        re: A ASCII DOTALL I IGNORECASE L LOCALE M MULTILINE NOFLAG S U UNICODE VERBOSE X
        string: ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits printable punctuation
            whitespace
        time: altzone daylight timezone tzname
        typing: AnyStr TYPE_CHECKING
        unicodedata: unidata_version
        urllib: parse
        uuid: NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 RESERVED_FUTURE RESERVED_MICROSOFT
            RESERVED_NCS RFC_4122
        xml: sax
        xml.sax: saxutils
        zlib: DEFLATED DEF_BUF_SIZE DEF_MEM_LEVEL MAX_WBITS ZLIB_VERSION Z_BEST_COMPRESSION Z_BEST_SPEED
            Z_DEFAULT_COMPRESSION Z_DEFAULT_STRATEGY Z_FILTERED Z_FINISH Z_FIXED Z_FULL_FLUSH Z_HUFFMAN_ONLY
            Z_NO_COMPRESSION Z_NO_FLUSH Z_PARTIAL_FLUSH Z_RLE Z_SYNC_FLUSH
    """,
    "errors": """
        binascii: Error Incomplete
        builtins: ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError
            BrokenPipeError BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError
            ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError EncodingWarning
            EnvironmentError Exception ExceptionGroup FileExistsError FileNotFoundError FloatingPointError
            FutureWarning GeneratorExit IOError ImportError ImportWarning IndentationError IndexError
            InterruptedError IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError
            ModuleNotFoundError NameError NotADirectoryError NotImplementedError OSError OverflowError
            PendingDeprecationWarning PermissionError ProcessLookupError RecursionError ReferenceError
            ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration StopIteration SyntaxError
            SyntaxWarning SystemError SystemExit TabError TimeoutError TypeError UnboundLocalError
            UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning UserWarning
            ValueError Warning ZeroDivisionError
        calendar: IllegalMonthError IllegalWeekdayError
        copy: Error error
        csv: Error
        dataclasses: FrozenInstanceError
        decimal: Clamped ConversionSyntax DecimalException DivisionByZero DivisionImpossible DivisionUndefined
            FloatOperation Inexact InvalidContext InvalidOperation Overflow Rounded Subnormal Underflow
        ipaddress: AddressValueError NetmaskValueError
        json: JSONDecodeError
        re: PatternError error
        statistics: StatisticsError
        struct: error
        yaml: YAMLError
        zlib: error
        zoneinfo: ZoneInfoNotFoundError
    """,
    "data": """
        binascii: a2b_base64 a2b_hex a2b_qp a2b_uu b2a_base64 b2a_hex b2a_qp b2a_uu crc32 crc_hqx hexlify
            unhexlify
        builtins: abs ascii bin chr divmod format hash hex len oct ord pow repr round
        hashlib: md5 new pbkdf2_hmac scrypt sha1 sha224 sha256 sha384 sha3_224 sha3_256 sha3_384 sha3_512 sha512
            shake_128 shake_256
        hmac: compare_digest
        ipaddress: get_mixed_type_key v4_int_to_packed v6_int_to_packed
        itertools: tee
        math: acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist erf erfc exp
            exp2 expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot isclose isfinite isinf isnan isqrt
            lcm ldexp lgamma log log10 log1p log2 modf nextafter perm pow prod radians remainder sin sinh sqrt
            tan tanh trunc ulp
        operator: abs add and_ concat contains countOf delitem eq floordiv ge getitem gt iadd iand iconcat
            ifloordiv ilshift imatmul imod imul index indexOf inv invert ior ipow irshift is_ is_not isub
            itruediv ixor le length_hint lshift lt matmul mod mul ne neg not_ or_ pos pow rshift setitem sub
            truediv truth xor
        secrets: choice compare_digest randbelow randbits token_bytes token_hex token_urlsafe
        struct: calcsize iter_unpack pack pack_into unpack unpack_from
        time: asctime ctime gmtime localtime mktime monotonic monotonic_ns perf_counter perf_counter_ns
            process_time process_time_ns strftime time time_ns
        unicodedata: bidirectional category combining decimal decomposition digit east_asian_width is_normalized
            lookup mirrored name normalize numeric
        zlib: adler32 compress compressobj crc32
    """,
    "methods": """
        base64: a85decode a85encode b16decode b16encode b32decode b32encode b32hexdecode b32hexencode b64decode
            b64encode b85decode b85encode decodebytes encodebytes standard_b64decode standard_b64encode
            urlsafe_b64decode urlsafe_b64encode
        calendar: calendar firstweekday isleap leapdays month monthcalendar monthrange timegm weekday weekheader
        csv: reader writer
        difflib: context_diff get_close_matches ndiff restore unified_diff
        heapq: heapify heappop heappush heappushpop heapreplace
        html: escape unescape
        os.path: basename commonpath commonprefix dirname isabs join normcase normpath split splitdrive splitext
        random: betavariate choice choices expovariate gammavariate gauss getrandbits getstate lognormvariate
            normalvariate paretovariate randbytes randint random randrange sample seed setstate shuffle
            triangular uniform vonmisesvariate weibullvariate
        statistics: correlation covariance fmean geometric_mean harmonic_mean linear_regression mean median
            median_grouped median_high median_low mode multimode pstdev pvariance quantiles stdev variance
        string: capwords
        textwrap: dedent fill indent shorten wrap
        urllib.parse: parse_qs parse_qsl quote quote_from_bytes quote_plus unquote unquote_plus unquote_to_bytes
            urlunparse urlunsplit
        uuid: uuid3 uuid4 uuid5
        xml.sax.saxutils: escape quoteattr unescape
        yaml: safe_dump safe_load safe_load_all
    """,
    "calls": """
        bisect: bisect bisect_left bisect_right insort insort_left insort_right
        builtins: all any callable enumerate filter isinstance issubclass iter map max min next reversed sorted
            sum zip
        difflib: diff_bytes
        functools: cache cmp_to_key lru_cache reduce
        heapq: merge nlargest nsmallest
        hmac: digest new
        json: dump dumps load loads
        operator: call
        urllib.parse: urlencode
    """,
    "exact": """
        fnmatch: filter fnmatch fnmatchcase translate
        ipaddress: collapse_addresses ip_address ip_interface ip_network summarize_address_range
        re: compile escape findall finditer fullmatch match search split sub subn
        time: strptime
        urllib.parse: urldefrag urljoin urlparse urlsplit
    """,
    "contexts": """
        decimal: getcontext localcontext setcontext
    """,
    "copies": """
        dataclasses: asdict astuple replace
    """,
    "classes": """
        builtins: classmethod object property staticmethod super
        dataclasses: field fields is_dataclass
        enum: unique
        typing: NamedTuple TypedDict
    """,
    "marks": """
        typing: Annotated Callable ChainMap ClassVar Collection Concatenate Container Counter DefaultDict Deque
            Dict Final FrozenSet Generator Hashable ItemsView Iterable Iterator KeysView List Literal LiteralString
            Mapping MappingView MutableMapping MutableSequence MutableSet Never NoReturn NotRequired Optional
            OrderedDict Required Reversible Self Sequence Set Sized Tuple TypeAlias TypeGuard Union ValuesView
            assert_never cast get_args get_origin is_typeddict
    """,
    "classes in C": """
        builtins: bool bytearray bytes complex dict float frozenset int list range set slice str tuple
        collections: OrderedDict defaultdict deque
        collections.abc: ByteString Collection
        csv: excel excel_tab unix_dialect
        datetime: date datetime time timedelta timezone tzinfo
        decimal: Context Decimal
        functools: partial
        hashlib: blake2b blake2s
        io: BytesIO StringIO
        itertools: accumulate chain combinations combinations_with_replacement compress count cycle dropwhile
            filterfalse groupby islice pairwise permutations product repeat starmap takewhile zip_longest
        operator: itemgetter
        re: Match Pattern
        struct: Struct
        time: struct_time
        typing: Any Generic Protocol Text
    """,
    "classes in Python": """
        calendar: Calendar HTMLCalendar TextCalendar
        collections: ChainMap Counter UserDict UserList
        collections.abc: Callable Container Generator Hashable ItemsView Iterable Iterator KeysView Mapping
            MappingView MutableMapping MutableSequence MutableSet Reversible Sequence Set Sized ValuesView
        csv: Dialect DictReader DictWriter Sniffer
        dataclasses: InitVar
        difflib: Differ SequenceMatcher
        enum: Enum Flag IntEnum IntFlag StrEnum auto
        fractions: Fraction
        functools: cached_property
        ipaddress: IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network
        json: JSONDecoder JSONEncoder
        random: Random SystemRandom
        re: RegexFlag
        secrets: SystemRandom
        statistics: NormalDist
        string: Template
        textwrap: TextWrapper
        typing: NewType SupportsAbs SupportsFloat SupportsIndex SupportsInt SupportsRound TypeVar
        urllib.parse: ParseResult ParseResultBytes SplitResult SplitResultBytes
        uuid: SafeUUID UUID
    """,
    "ours": """
        builtins: delattr getattr hasattr id setattr type
        collections: namedtuple
        contextlib: closing contextmanager nullcontext suppress
        copy: copy deepcopy replace
        dataclasses: dataclass
        functools: total_ordering update_wrapper wraps
        itertools: batched
        time: sleep
        typing: Type final no_type_check overload override runtime_checkable
        zlib: decompress
        zoneinfo: ZoneInfo available_timezones
    """,
}

# The API has a table of its own, docs/flow_api_tests.md.
OFFERED: dict[str, dict[str, Any]] = {
    title: {name: vars(facade)[name] for name in public_names(facade)}
    for title, facade in {**FACADES, **{name: make(None) for name, make in RUN_FACADES.items()}}.items()
    if not title.startswith("flow_api")
}
OFFERED["builtins"] = {
    name: value for name, value in BUILTINS.items() if not name.startswith("_") and name != "flow_api"
}


def judgements(title: str) -> dict[str, list[str]]:
    """By name, under what it was offered (one each, if the table is right)."""
    found: dict[str, list[str]] = {}
    for judgement, text in JUDGED.items():
        for entry in _entries(text):
            if entry[0] == f"{title}:":
                for name in entry[1:]:
                    found.setdefault(name, []).append(judgement)
    return found


def _entries(text: str) -> list[list[str]]:
    entries: list[list[str]] = []
    for word in text.split():
        if word.endswith(":"):
            entries.append([])
        entries[-1].append(word)
    return entries


@pytest.mark.parametrize("title", sorted(OFFERED))
def test_each_offered_name_is_judged_once(title: str) -> None:
    """The same on every Python: a name that one lacks, or has in addition, fails here too."""
    found = judgements(title)
    assert sorted(found) == sorted(OFFERED[title])
    assert [name for name, given in found.items() if len(given) != 1] == []


def test_the_table_names_no_module_that_there_is_not() -> None:
    titles = {entry[0].removesuffix(":") for text in JUDGED.values() for entry in _entries(text)}
    assert titles == {title for title, names in OFFERED.items() if names}


@pytest.mark.parametrize("title", sorted(OFFERED))
def test_a_judgement_is_about_that_kind_of_thing(title: str) -> None:
    for name, (judgement, *_) in judgements(title).items():
        value = OFFERED[title][name]
        is_error = isinstance(value, type) and issubclass(value, BaseException)
        assert callable(value) is (judgement != "values"), name
        assert is_error is (judgement == "errors"), name
        assert isinstance(value, type) or not judgement.startswith("classes in"), name


# Methods of classes in Python that are no function of an instance, judged one by one: each calls the class that it is
# read from, which is one of the library's or the flow's own.
CLASS_METHODS_IN_PYTHON = {
    "ChainMap.fromkeys", "Counter.fromkeys", "UserDict.fromkeys", "Fraction.from_decimal", "Fraction.from_float",
    "NormalDist.from_samples",
}  # fmt: skip


@pytest.mark.parametrize("title", sorted(OFFERED))
def test_each_method_in_python_is_held_to_its_instances(title: str) -> None:
    """Or it reads no more than attributes of what it is called with."""
    for offered in OFFERED[title].values():
        for kind in type.mro(offered) if isinstance(offered, type) else ():
            if kind.__module__.startswith("whd"):
                continue
            for name, attribute in vars(kind).items():
                if name.startswith("_"):
                    continue
                where = f"{kind.__name__}.{name}"
                if isinstance(attribute, (classmethod, staticmethod)) and not isinstance(
                    attribute.__func__, types.BuiltinFunctionType
                ):
                    assert where in CLASS_METHODS_IN_PYTHON, where
                for function in functions_of(attribute):
                    is_held = function.__code__.co_name == "held"
                    assert is_held or not methods.does_more_than_read(function), where


def functions_of(attribute: Any) -> list[types.FunctionType]:
    """The functions behind a method, a property, a cached property."""
    parts = [attribute, *(getattr(attribute, part, None) for part in ("fget", "fset", "fdel", "func"))]
    return [part for part in parts if type(part) is types.FunctionType]
