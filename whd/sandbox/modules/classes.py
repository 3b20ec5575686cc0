"""What makes or changes classes and functions: enum, dataclasses, functools, typing, collections.

These modules write to what they are given and accept names as text; here they are held to the flow's own classes and
functions, and to names without an underscore.
"""

from __future__ import annotations

import abc
import collections
import collections.abc
import dataclasses
import enum
import functools
import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from ..names import CAREFUL_NAMES, FLOW_MODULE, INTERNAL_NAMES
from ..running import running_flow
from .facade import Facade, make_facade, pick


def _make_flow_module() -> types.ModuleType:
    """What dataclasses finds when it looks into the module of a flow's class, to read annotations that are texts.

    Only these names mean something to it. Flows cannot import it.
    """
    module = types.ModuleType(FLOW_MODULE)
    module.__dict__.update(
        ClassVar=typing.ClassVar,
        InitVar=dataclasses.InitVar,
        KW_ONLY=dataclasses.KW_ONLY,
        typing=typing,
        dataclasses=dataclasses,
    )
    return module


sys.modules.setdefault(FLOW_MODULE, _make_flow_module())


def _own_class(kind: Any, what: str) -> type:
    if not isinstance(kind, type) or kind.__module__ is not FLOW_MODULE:
        raise TypeError(f"{what} is for classes that the flow itself defines") from None
    return kind


def _own_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError("names must be text") from None
    plain = str.__str__(name)
    if plain.startswith("_"):
        raise ValueError(f"the name {plain!r} starts with an underscore: flows cannot use it") from None
    return plain


# ---- enum ------------------------------------------------------------------------------------------------------------


class FlowEnumMeta(enum.EnumMeta):
    """The metaclass of the enums that flows see: `Enum("Name", names)` cannot slip in special methods."""

    def __call__(cls, value: Any, *args: Any, **kwargs: Any) -> Any:
        """A member by its value, or a new enum from a name and its members' names."""
        if cls._member_names_ or (not args and not kwargs):
            return super().__call__(value, *args)
        return _functional_enum(cls, value, *args, **kwargs)


def _functional_enum(kind: Any, name: Any, names: Any, *, start: int = 1) -> Any:
    if isinstance(names, str):
        names = str.__str__(names).replace(",", " ").split()
    members: list[Any] = []
    for item in names.items() if type(names) is dict else names:
        if isinstance(item, str):
            members.append(_own_name(item))
        else:
            member, value = item
            members.append((_own_name(member), value))
    if kind._member_type_ is not object:
        # What passes for a text or a number may stay in a cache of the library (class_building.py).
        running_flow().wants_fresh = True
    return enum.EnumMeta.__call__(kind, _own_name(name), members, module=FLOW_MODULE, start=start)


def _flow_enum(kind: Any) -> Any:
    namespace = FlowEnumMeta.__prepare__(kind.__name__, (kind,))
    namespace["__doc__"] = kind.__doc__
    return FlowEnumMeta(kind.__name__, (kind,), namespace)


def _enum() -> Facade:
    names = pick(enum, "auto unique")
    for name in ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"):
        names[name] = _flow_enum(getattr(enum, name))
    return make_facade("enum", names)


# ---- dataclasses -----------------------------------------------------------------------------------------------------


def dataclass(kind: Any = None, /, **options: Any) -> Any:
    """dataclasses.dataclass, for the flow's own classes."""

    def decorate(own: Any) -> Any:
        checked = _own_class(own, "@dataclass")
        _check_field_names(checked)
        _own_fields(checked)
        return dataclasses.dataclass(checked, **options)

    return decorate if kind is None else decorate(kind)


def _own_fields(own: Any) -> None:
    """Gives the class fields of its own: dataclasses writes a field's name to it, so the next class that used the same
    field() would rename what the first one reads and writes.
    """
    for name in type.__getattribute__(own, "__dict__").get("__annotations__", {}):
        given = getattr(own, name, None)
        if type(given) is dataclasses.Field:
            options = {option: getattr(given, option) for option in _FIELD_OPTIONS}
            setattr(own, name, dataclasses.field(**options))


_FIELD_OPTIONS = ("default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only")


def _check_field_names(own: Any) -> None:
    """dataclasses writes source text from the names in a class's annotations and runs it: plain names only."""
    if type(own) not in (type, abc.ABCMeta):
        raise TypeError("@dataclass is for plain classes") from None
    names: list[str] = []
    for base in type.mro(own):
        for name in type.__getattribute__(base, "__dict__").get("__annotations__", {}):
            if type(name) is not str or not str.isidentifier(name) or str.startswith(name, "_"):
                raise TypeError(f"@dataclass: {name!r} cannot be a field's name") from None
            names.append(name)
    # Subclasses that were made before inherit the fields too.
    waiting = [own]
    while waiting:
        kind = waiting.pop()
        _check_fields(kind, names)
        waiting += type.__subclasses__(kind)


def check_inherited_fields(own: type) -> None:
    """For a class of the flow's that inherits from a dataclass and from others. Raises TypeError."""
    _check_fields(own, getattr(own, "__dataclass_fields__", ()))


def _check_fields(own: type, names: Iterable[str]) -> None:
    """Refuses fields whose names the guard looks at twice and a base of Python's own has, as str has `format`: asdict()
    and its kin read fields past the guard, and would give out the base's.
    """
    foreign = [base for base in type.mro(own) if base.__module__ is not FLOW_MODULE]
    for name in names:
        is_careful = name in CAREFUL_NAMES and any(name in type.__getattribute__(base, "__dict__") for base in foreign)
        if is_careful or name in INTERNAL_NAMES:
            raise TypeError(f"{name!r} cannot be a dataclass's field in a class like this") from None


def _dataclasses() -> Facade:
    names = pick(dataclasses, "field fields asdict astuple replace is_dataclass KW_ONLY InitVar FrozenInstanceError")
    names["dataclass"] = dataclass
    names["MISSING"] = dataclasses.MISSING
    return make_facade("dataclasses", names)


# ---- functools -------------------------------------------------------------------------------------------------------


def update_wrapper(wrapper: Any, wrapped: Any, *_parts: Any) -> Any:
    """functools.update_wrapper, for the flow's own functions, and only name and documentation."""
    if type(wrapper) is not types.FunctionType or wrapper.__module__ is not FLOW_MODULE:
        raise TypeError("wraps() is for functions that the flow itself defines") from None
    if type(wrapped) is types.FunctionType:
        wrapper.__name__ = wrapped.__name__
        wrapper.__qualname__ = wrapped.__qualname__
        wrapper.__doc__ = wrapped.__doc__
    return wrapper


def wraps(wrapped: Any, *_parts: Any) -> Callable[[Any], Any]:
    """functools.wraps, within the bounds of update_wrapper."""
    return lambda wrapper: update_wrapper(wrapper, wrapped)


def total_ordering(kind: Any) -> Any:
    """functools.total_ordering, for the flow's own classes."""
    return functools.total_ordering(_own_class(kind, "@total_ordering"))


def _functools() -> Facade:
    names = pick(functools, "partial reduce lru_cache cache cached_property cmp_to_key")
    names.update(update_wrapper=update_wrapper, wraps=wraps, total_ordering=total_ordering)
    return make_facade("functools", names)


# ---- collections -----------------------------------------------------------------------------------------------------


def namedtuple(
    typename: str, field_names: str | Iterable[str], *, rename: bool = False, defaults: Iterable[Any] | None = None
) -> Any:
    """collections.namedtuple."""
    if isinstance(field_names, str):
        field_names = str.__str__(field_names).replace(",", " ").split()
    fields = [_own_name(name) if not rename else str.__str__(name) for name in field_names]
    return collections.namedtuple(
        _own_name(typename), fields, rename=bool(rename), defaults=defaults, module=FLOW_MODULE
    )


def _collections() -> tuple[Facade, Facade]:
    abc = make_facade(
        "collections.abc",
        pick(
            collections.abc,
            "Callable Collection Container Generator Hashable ItemsView Iterable Iterator KeysView Mapping MappingView "
            "MutableMapping MutableSequence MutableSet Reversible Sequence Set Sized ValuesView ByteString",
        ),
    )
    names = pick(collections, "OrderedDict defaultdict Counter deque ChainMap UserDict UserList")
    names.update(namedtuple=namedtuple, abc=abc)
    return make_facade("collections", names), abc


# ---- typing ----------------------------------------------------------------------------------------------------------

# Without get_type_hints, which evaluates texts as code.
_TYPING = (
    "Annotated Any AnyStr Callable ChainMap ClassVar Collection Concatenate Container Counter DefaultDict Deque Dict "
    "Final FrozenSet Generator Generic Hashable ItemsView Iterable Iterator KeysView List Literal LiteralString "
    "Mapping MappingView MutableMapping MutableSequence MutableSet NamedTuple Never NewType NoReturn NotRequired "
    "Optional OrderedDict Protocol Required Reversible Self Sequence Set Sized SupportsAbs SupportsFloat SupportsIndex "
    "SupportsInt SupportsRound TYPE_CHECKING Text Tuple TypeAlias TypeGuard TypeVar TypedDict Union ValuesView "
    "assert_never cast get_args get_origin is_typeddict"
)


def _unchanged(given: Any, /) -> Any:
    """typing's marks (final, overload, …): the real ones write to what they are given, or keep it for ever."""
    return given


class TypeMark:
    """What flows know as typing.Type: good for annotations. The real one leads to `type` itself, its origin."""

    __slots__ = ()

    def __getitem__(self, _parameter: Any) -> TypeMark:
        return self

    def __or__(self, other: Any) -> Any:
        return typing.Union[self, other]  # noqa: UP007  # `self | other` would come back here

    __ror__ = __or__

    def __call__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """typing takes only what could be called."""
        raise TypeError("typing.Type is for annotations; it cannot be called") from None

    def __mro_entries__(self, _bases: Any) -> NoReturn:
        raise TypeError("a class cannot be made below typing.Type") from None

    def __repr__(self) -> str:
        return "typing.Type"


def _typing() -> Facade:
    names = pick(typing, _TYPING)
    names["Type"] = TypeMark()
    names.update(dict.fromkeys(("final", "no_type_check", "overload", "override"), _unchanged))
    names["runtime_checkable"] = lambda kind: typing.runtime_checkable(_own_class(kind, "@runtime_checkable"))
    return make_facade("typing", names)


def forget_typing() -> None:
    """Empties typing's caches of what flows put into List[…] and its kin."""
    for clear in typing._cleanups:  # type: ignore[attr-defined]  # test.support of Python itself clears them so
        clear()


def class_facades() -> dict[str, Facade]:
    """The facades of this module, by the name that a flow imports."""
    collections_facade, abc_facade = _collections()
    return {
        "enum": _enum(),
        "dataclasses": _dataclasses(),
        "functools": _functools(),
        "collections": collections_facade,
        "collections.abc": abc_facade,
        "typing": _typing(),
    }
