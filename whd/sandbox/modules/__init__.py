"""What flows can import: curated names in immutable facades, never a real module (FLOW_API, The language).

FACADES are shared by all executions; RUN_FACADES are made for each one that imports them. `flow_api` itself is added
where it is built (flow_builtins.py).
"""

from __future__ import annotations
import __future__

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from ..names import CAREFUL_NAMES, is_plain_name
from .classes import class_facades
from .contexts import context_facades
from .facade import Facade, make_facade, public_names
from .library import mend_library
from .methods import hold_methods
from .numbers import make_random, number_facades
from .numbers import warm_up as _warm_up_numbers
from .text import text_facades
from .text import warm_up as _warm_up_text
from .times import make_time, time_facades
from .times import warm_up as _warm_up_times

mend_library()
FACADES: dict[str, Facade] = {
    **class_facades(),
    **context_facades(),
    **number_facades(),
    **text_facades(),
    **time_facades(),
    "__future__": make_facade("__future__", dict.fromkeys(__future__.all_feature_names)),
}
RUN_FACADES: dict[str, Callable[[Any], Facade]] = {"random": make_random, "time": make_time}


def _classes() -> Iterator[type]:
    for facade in (*FACADES.values(), *(make(None) for make in RUN_FACADES.values())):
        for offered in vars(facade).values():
            if isinstance(offered, type):
                yield offered


hold_methods(_classes())


@cache
def offered_classes() -> frozenset[type]:
    """The classes that a flow can import or finds among the builtins."""
    return frozenset((*_classes(), *_COMMON_TYPES, *_NAMELESS_TYPES))


# Parents of importable modules, with nothing in them but these, and second names of what others hold.
_UNLISTED = frozenset({"os", "urllib", "xml", "xml.sax", "__future__", "flow_api.exceptions"})


def importable_names() -> list[str]:
    """What an ImportError lists."""
    return sorted((FACADES.keys() | RUN_FACADES.keys()) - _UNLISTED)


def is_importable(name: str) -> bool:
    """Whether `import name` will work in a flow."""
    return name in FACADES or name in RUN_FACADES or name == "flow_api"


def warm_up() -> None:
    """Loads what Python loads only at its first use, when a walled process can open no file any more."""
    for call in [*_warm_up_text(), *_warm_up_numbers(), *_warm_up_times()]:
        call()


def packages() -> frozenset[str]:
    """The top level packages whose classes flows meet, our own among them."""
    return frozenset(name.partition(".")[0] for name in (*FACADES, *RUN_FACADES, "whd.sandbox"))


# Builtin types whose attributes a flow meets all the time.
_COMMON_TYPES = (
    str, bytes, bytearray, int, float, complex, bool, list, tuple, dict, set, frozenset, range, slice,
    BaseException, BaseExceptionGroup, OSError, UnicodeError, StopIteration, property,
)  # fmt: skip
# Builtin types that flows meet, and can call, but have no use for their names.
_NAMELESS_TYPES = (
    object, type(None), type(...), type(NotImplemented), classmethod, staticmethod, enumerate, filter, map, reversed,
    zip,
)  # fmt: skip


@cache
def fast_names() -> frozenset[str]:
    """Names that may be read from any object without a guard (see names.py).

    They are what the builtin types, the facades and the classes in the facades offer, and the flow API's own; each of
    these was chosen because it may be reached, and a flow's own objects hold nothing but what the flow put there.
    """
    names: set[str] = set()
    facades = [*FACADES.values(), *(make(None) for make in RUN_FACADES.values())]
    for kind in _COMMON_TYPES:
        names.update(dir(kind))
    for facade in facades:
        names.update(public_names(facade))
        for name in public_names(facade):
            offered = facade.__dict__[name]
            if isinstance(offered, type):
                names.update(dir(offered))
    names.update(API_NAMES)
    return frozenset(name for name in names if is_plain_name(name)) - CAREFUL_NAMES - _SHADOWY


# Offered by a class above, but not harmless on every object, or a mapping proxy (guards.py).
_SHADOWY = frozenset({"func", "with_traceback", "lock", "groupindex", "metadata"})

API_NAMES = frozenset(
    "System Execution ReturnWhen get load set save set_output log success error end sleep sleep_until flow task "
    "connect wait_for webhook_html_response webhook_json_response webhook_response run run_async wait cancel setting "
    "settings file files flows execution exists delete list_append acquire release return_when get_own_user "
    "get_own_client get_env_name update clone status Status Setting File Flow User Client PENDING RUNNING "
    "ENDED_SUCCESS ENDED_ERROR ENDED_CANCELLED CloudomationException PermissionDenied ResourceNotFoundError "
    "DependencyFailedError TimeoutExceededError InvalidInputError MissingInputError ALL_SUCCEEDED "
    "ALL_ENDED FIRST_ENDED".split()
)
