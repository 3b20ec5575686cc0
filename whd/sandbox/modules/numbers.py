"""Numbers, order and chance. `random` is made anew for each execution, so that no seed outlives it."""

from __future__ import annotations

import bisect
import copy
import decimal
import fractions
import heapq
import itertools
import math
import operator
import random
import secrets
import statistics
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import copying
from .facade import Facade, make_facade, pick

_NAMES: dict[str, tuple[Any, str]] = {
    "bisect": (bisect, "bisect bisect_left bisect_right insort insort_left insort_right"),
    # Without the contexts that all executions share (DefaultContext and its kin).
    "decimal": (
        decimal,
        "Clamped Context ConversionSyntax Decimal DecimalException DivisionByZero DivisionImpossible "
        "DivisionUndefined FloatOperation Inexact InvalidContext InvalidOperation MAX_EMAX MAX_PREC MIN_EMIN MIN_ETINY "
        "Overflow ROUND_05UP ROUND_CEILING ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP "
        "ROUND_UP Rounded Subnormal Underflow getcontext localcontext setcontext",
    ),
    "fractions": (fractions, "Fraction"),
    "heapq": (heapq, "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest"),
    "itertools": (
        itertools,
        "accumulate chain combinations combinations_with_replacement compress count cycle dropwhile "
        "filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest",
    ),
    "math": (
        math,
        "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp "
        "exp2 expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan "
        "isqrt lcm ldexp lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder "
        "sin sinh sqrt tan tanh tau trunc ulp",
    ),
    # Without attrgetter and methodcaller, which reach attributes by name.
    "operator": (
        operator,
        "abs add and_ call concat contains countOf delitem eq floordiv ge getitem gt iadd iand iconcat ifloordiv "
        "ilshift imatmul imod imul index indexOf inv invert ior ipow irshift is_ is_not isub itemgetter itruediv ixor "
        "le length_hint lshift lt matmul mod mul ne neg not_ or_ pos pow rshift setitem sub truediv truth xor",
    ),
    "secrets": (
        secrets,
        "SystemRandom choice compare_digest randbelow randbits token_bytes token_hex token_urlsafe",
    ),
    "statistics": (
        statistics,
        "NormalDist StatisticsError correlation covariance fmean geometric_mean harmonic_mean linear_regression mean "
        "median median_grouped median_high median_low mode multimode pstdev pvariance quantiles stdev variance",
    ),
    # Without uuid1 and getnode, which ask the machine for its addresses.
    "uuid": (
        uuid,
        "NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 RESERVED_FUTURE RESERVED_MICROSOFT RESERVED_NCS "
        "RFC_4122 SafeUUID UUID uuid3 uuid4 uuid5",
    ),
}

_RANDOM = (
    "betavariate choice choices expovariate gammavariate gauss getrandbits getstate lognormvariate "
    "normalvariate paretovariate randbytes randint random randrange sample seed setstate shuffle triangular uniform "
    "vonmisesvariate weibullvariate"
)


def make_random(_run: Any) -> Facade:
    """The module `random` for one execution, with a generator of its own."""
    return make_facade("random", {"Random": random.Random, "SystemRandom": random.SystemRandom} | _methods())


def _methods() -> dict[str, Any]:
    return pick(random.Random(), _RANDOM)


def reset_decimal() -> None:
    """Restores the context that a new thread has (decimal, "Context objects"), whatever the last flow changed."""
    decimal.setcontext(
        decimal.Context(
            prec=28,
            rounding=decimal.ROUND_HALF_EVEN,
            Emin=-999_999,
            Emax=999_999,
            capitals=1,
            clamp=0,
            flags=[],
            traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
        )
    )


def batched(iterable: Iterable[Any], n: int, *, strict: bool = False) -> Iterator[tuple[Any, ...]]:
    """itertools.batched, which Python has since 3.12, and `strict` since 3.13."""
    if n < 1:
        raise ValueError("n must be at least one")
    items = iter(iterable)
    return _batches(items, n, strict)


def _batches(items: Iterator[Any], size: int, strict: bool) -> Iterator[tuple[Any, ...]]:
    while batch := tuple(itertools.islice(items, size)):
        if strict and len(batch) < size:
            raise ValueError("batched(): incomplete batch")
        yield batch


def number_facades() -> dict[str, Facade]:
    """The facades of this module, by the name that a flow imports."""
    facades = {name: make_facade(name, pick(module, names)) for name, (module, names) in _NAMES.items()}
    facades["itertools"] = make_facade("itertools", {**pick(itertools, _NAMES["itertools"][1]), "batched": batched})
    facades["copy"] = make_facade("copy", {**pick(copy, "error Error"), **pick(copying, "copy deepcopy replace")})
    return facades


def warm_up() -> list[Callable[[], object]]:
    """Calls that load what these modules load late."""
    return [
        lambda: decimal.Decimal("1.1") / 3,
        lambda: f"{decimal.Decimal('1234.5'):,.2f}",
        lambda: statistics.quantiles([1, 2, 3]),
        lambda: statistics.NormalDist(0, 1).cdf(0.5),
        lambda: copy.deepcopy({"a": [1, {2}], "b": decimal.Decimal(1)}),
        lambda: heapq.nlargest(1, [1, 2]),
        lambda: fractions.Fraction("1/3"),
        lambda: uuid.uuid4(),
        lambda: secrets.token_hex(4),
        reset_decimal,
    ]
