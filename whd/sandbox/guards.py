"""The guards: what stands between a flow and attributes, and the builtins that read or write attributes by name.

A guard refuses with a fresh error that holds no object (`from None`, SANDBOX trap 5), and looks only at exact types:
a flow's own classes may lie about everything else (trap 6). What the compiler let through plainly is in names.py.
"""

from __future__ import annotations

import _thread  # threading would do its own things at each fork
import secrets
import sys
import types
import typing
from typing import Any

from .formatting import SafeFormat
from .helper_modules import HelperModule
from .modules import offered_classes
from .names import CAREFUL_NAMES, FLOW_MODULE, INTERNAL_NAMES

_MISSING = object()

# A flow never gets one of these, from whatever object (SANDBOX, trap 1).
_HIDDEN_TYPES = frozenset(
    {
        types.ModuleType, types.FrameType, types.CodeType, types.TracebackType, types.CellType,
        type(_thread.allocate_lock()), type(_thread.RLock()),
    }
)  # fmt: skip


_PLAIN_TYPES = frozenset({str, int, float, bool, type(None), list, dict, tuple, set, types.MethodType})


def read_attribute(holder: Any, name: str) -> Any:
    """`_getattr_`: reads an attribute whose name is allowed, but not known to be harmless on every object."""
    value = getattr(holder, name)
    # Most of what a flow reads from its own objects: returning here saves a call, a third of the cost.
    if type(value) in _PLAIN_TYPES and name not in CAREFUL_NAMES:
        return value
    return _checked(holder, name, value)


def _checked(holder: Any, name: str, value: Any) -> Any:
    kind = type(value)
    if kind is types.MappingProxyType:
        # The proxy itself, compared with an object of the flow's, would hand that object the shared dict behind it.
        return dict(value)
    if kind in _HIDDEN_TYPES or (issubclass(kind, type) and issubclass(value, type)):
        raise AttributeError(f"the attribute {name!r} is not available to flows") from None
    if name in CAREFUL_NAMES:
        return _read_carefully(holder, name, value)
    return value


def _read_carefully(holder: Any, name: str, value: Any) -> Any:
    if name in ("format", "format_map"):
        return _safe_format(name, value)
    if name == "obj":
        if isinstance(holder, BaseException) and type(holder).__module__ is not FLOW_MODULE:
            # AttributeError.obj may be an object of a library (CVE-2024-47532).
            raise AttributeError("the attribute 'obj' of errors is not available to flows") from None
        return value
    if name in ("fget", "fset", "fdel"):
        if isinstance(holder, property):
            # A function out of a library's class: called with a `self` of the flow's choice, it might write to that.
            raise AttributeError(f"the attribute {name!r} of properties is not available to flows") from None
        return value
    if name == "evaluate" and isinstance(holder, typing.ForwardRef):
        # A text in an annotation, which Python 3.14 would run as code.
        raise AttributeError("annotations that are texts cannot be evaluated by flows") from None
    # mro, ABC.register, ZoneInfo.clear_cache and its kin: methods of shared classes that change or show too much. They
    # are known by what they are bound to, whatever they were read from (a class, an instance, super()).
    bound_to = getattr(value, "__self__", None)
    if isinstance(bound_to, type) and (name == "register" or bound_to.__module__ is not FLOW_MODULE):
        # `register` of the flow's own classes too: the ABCs above them would remember it in their caches.
        raise AttributeError(f"the method {name!r} of classes is not available to flows") from None
    return value


_SELF_OF_SUPER: Any = vars(super)["__self__"]


def read_super(base: super, name: str) -> Any:
    """`_super_`: a special method of a base class, for an instance of the flow's own class and nothing else.

    Read from a class it would be the plain function, which the flow could call with any `self`.
    """
    if type(base) is super and type(_SELF_OF_SUPER.__get__(base)).__module__ is FLOW_MODULE:
        return getattr(base, name)
    raise TypeError(f"super().{name}() works in methods of the flow's own classes, on their instances") from None


def _safe_format(name: str, value: Any) -> Any:
    """The replacement if `value` is a text's own format method, which looks like this however it was reached."""
    function = FORMAT.format if name == "format" else FORMAT.format_map
    kind = type(value)
    if kind is types.BuiltinMethodType and isinstance(value.__self__, str):
        return types.MethodType(function, value.__self__)
    if kind is types.MethodDescriptorType and issubclass(value.__objclass__, str):
        return function
    return value


def _check_name(name: Any) -> None:
    if type(name) is not str:
        # A subclass could change its mind between the check and the use.
        raise TypeError("an attribute's name must be a plain text") from None
    if name[:1] == "_" and name != "_":
        raise AttributeError(f"the attribute {name!r} starts with an underscore: flows cannot use it") from None
    if name in INTERNAL_NAMES:
        raise AttributeError(f"the attribute {name!r} belongs to the interpreter: flows cannot use it") from None


def get_attribute(holder: Any, name: str, default: Any = _MISSING, /) -> Any:
    """The builtin getattr. A private name is an error even with a default, so that nobody takes it for missing."""
    _check_name(name)
    if default is _MISSING:
        return _checked(holder, name, getattr(holder, name))
    try:
        value = getattr(holder, name)
    except AttributeError:
        return default
    return _checked(holder, name, value)


def has_attribute(holder: Any, name: str, /) -> bool:
    """The builtin hasattr: False for what a flow could not read."""
    try:
        _check_name(name)
        read_attribute(holder, name)
    except AttributeError:
        return False
    return True


FORMAT = SafeFormat(get_attribute)


def writable(holder: Any) -> Any:
    """`_write_`: the object itself if a flow made it, so that its attributes are its own to change.

    Raises TypeError for what is shared: modules, their functions and classes, the API's objects.
    """
    kind = type(holder)
    if kind.__module__ is FLOW_MODULE:
        return holder
    if issubclass(kind, type) or kind is types.FunctionType:
        if holder.__module__ is FLOW_MODULE:
            return holder
    elif kind in _OPEN_TYPES or (issubclass(kind, BaseException) and kind is not MemoryError):
        # Not MemoryError: the interpreter shares one, for when no memory is left for another (from Python 3.12 on).
        return holder
    raise TypeError(
        f"a flow cannot change attributes of {_describe(holder, kind)}; put the value into a variable, a dict, "
        "or an object of a class of your own"
    ) from None


def _describe(holder: Any, kind: type) -> str:
    if issubclass(kind, type):
        return f"the class {type.__getattribute__(holder, '__name__')}"
    if kind is HelperModule:
        return f"the module {holder._title}"
    return f"an object of type {kind.__name__}"


def _open_types() -> frozenset[type]:
    # Objects without shared state whose attributes are meant to be set: each belongs to the flow that made it.
    import csv
    import decimal
    import functools
    import textwrap

    return frozenset({decimal.Context, functools.partial, textwrap.TextWrapper, csv.DictReader, csv.DictWriter})


_OPEN_TYPES = _open_types()


def set_attribute(holder: Any, name: str, value: Any, /) -> None:
    """The builtin setattr."""
    _check_name(name)
    setattr(writable(holder), name, value)


def delete_attribute(holder: Any, name: str, /) -> None:
    """The builtin delattr."""
    _check_name(name)
    delattr(writable(holder), name)


_SECRET = secrets.token_bytes(16)


def id_of(value: Any, /) -> int:
    """The builtin id: a number that is the object's alone as long as it lives, but not where it lies in memory."""
    return hash(_SECRET + id(value).to_bytes(8, "little")) & sys.maxsize


_NOT_TO_BE_MADE = 1 << 7  # Py_TPFLAGS_DISALLOW_INSTANTIATION (Include/object.h)


def _is_given_out(kind: type) -> bool:
    """Whether a flow may have the class of an object that it holds.

    A class can be called. So a flow gets those that it could import or name, those that Python refuses to call, and our
    own; a bound method's class would make a method of anything, under any name, an alias's writes to what it answers.
    """
    return (
        kind in offered_classes()
        or issubclass(kind, BaseException)
        or bool(kind.__flags__ & _NOT_TO_BE_MADE)
        or kind.__module__ in _OWN_MODULES
    )


# What flows hold of ours refuses by itself to be made, or is a dict with other look-ups.
_OWN_MODULES = frozenset({"flow_api", *(f"whd.sandbox.{name}" for name in ("inputs", "modules.facade"))})


def type_of(value: Any, /) -> type:
    """The builtin type, with one argument. The class of a class is refused: `type(type(x))` would be type itself."""
    kind = type(value)
    if kind.__module__ is FLOW_MODULE and not issubclass(kind, type):
        return kind
    if issubclass(kind, type):
        raise TypeError(
            "type() of a class is not available to flows; compare the class itself, or use issubclass()"
        ) from None
    if not _is_given_out(kind):
        raise TypeError(
            f"type() of a {kind.__name__} is not available to flows; use isinstance(x, …) or callable(x)"
        ) from None
    return kind
