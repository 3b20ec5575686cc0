"""The builtins of flows: one dict, shared by all executions, which no flow can reach to change it.

What depends on the execution (print) stands in its globals instead. Left out: whatever runs text as code, reads
namespaces or opens files (refusals.MISSING_BUILTINS says what to do instead). Every Python has the same.
"""

from __future__ import annotations

import builtins
from typing import Any

from . import guards
from .class_building import build_class
from .errors import FlowEnd
from .flow_api import EXCEPTIONS, FLOW_API, read_deferred
from .imports import flow_import
from .modules import FACADES

_PLAIN = (
    "None False True Ellipsis NotImplemented abs all any ascii bin bool bytearray bytes callable chr classmethod "
    "complex dict divmod enumerate filter float format frozenset hash hex int isinstance issubclass iter len list "
    "map max min next object oct ord pow property range repr reversed round set slice sorted staticmethod str sum "
    "super tuple zip"
)

# Errors that Python 3.11 does not have.
_NEWER = frozenset({"PythonFinalizationError"})


def _exceptions() -> dict[str, Any]:
    return {
        name: kind
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, BaseException) and name not in _NEWER
    }


def make_builtins() -> dict[str, Any]:
    """The dict that a flow's globals name `__builtins__`."""
    names = {name: getattr(builtins, name) for name in _PLAIN.split()}
    names.update(_exceptions())
    names.update(
        __build_class__=build_class,
        __import__=flow_import,
        _getattr_=guards.read_attribute,
        _write_=guards.writable,
        _super_=guards.read_super,
        _deferred_=read_deferred,
        _end_=FlowEnd,
        getattr=guards.get_attribute,
        hasattr=guards.has_attribute,
        setattr=guards.set_attribute,
        delattr=guards.delete_attribute,
        id=guards.id_of,
        type=guards.type_of,
        flow_api=FLOW_API,
    )
    return names


FACADES["flow_api"] = FLOW_API
FACADES["flow_api.exceptions"] = EXCEPTIONS
BUILTINS = make_builtins()
