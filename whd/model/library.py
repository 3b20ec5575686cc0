"""A client's helper modules, and what is recorded of those that ran with a flow. Pure values.

A script's text is the flow's source. Where modules ran with it, it is an RFC 7464 sequence of one text instead: a
record separator, which no Python source can begin with, and a JSON object {"script": source, "modules": {name: {"hash",
"script"}}}. Its hash covers all of it. So whatever keeps scripts by their hash keeps the modules too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

_SEPARATOR = "\x1e"


@dataclass(frozen=True, slots=True)
class Module:
    """A helper module, `flows/<client>/lib/<name>.py`. `script_hash`: of its source, as of a flow's."""

    client_name: str
    name: str
    source: str
    script_hash: str
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """A client's modules at one moment. `unusable`: names of files without any good version. `hash`: of all of it."""

    modules: Mapping[str, Module]
    unusable: frozenset[str]
    hash: str


def make_library(modules: Mapping[str, Module], unusable: Iterable[str] = ()) -> Library:
    """A Library of these modules, by name."""
    missing = frozenset(unusable)
    parts = [f"{name} {module.script_hash}" for name, module in sorted(modules.items())]
    content = "\n".join([*parts, *sorted(missing)])
    return Library(MappingProxyType(dict(modules)), missing, _sha256(content) if content else "")


NO_LIBRARY = make_library({})


def hash_with(script_hash: str, modules: Iterable[Module]) -> str:
    """The hash of a script and the modules that ran with it; that of the script alone where there are none."""
    parts = [f"{module.name} {module.script_hash}" for module in modules]
    return _sha256("\n".join([script_hash, *parts])) if parts else script_hash


def script_with(source: str, modules: Iterable[Module]) -> str:
    """The text that is recorded of a script and the modules that ran with it."""
    by_name = {module.name: {"hash": module.script_hash, "script": module.source} for module in modules}
    return _SEPARATOR + json.dumps({"script": source, "modules": by_name}) if by_name else source


def has_modules(script: str) -> bool:
    """Whether the text holds more than a flow's source."""
    return script[:1] == _SEPARATOR


def split_script(script: str) -> tuple[str, dict[str, Any]]:
    """The flow's source, and {name: {"hash", "script"}} of the modules that ran with it."""
    if has_modules(script):
        try:
            document = json.loads(script[1:])
            return document["script"], document["modules"]
        except (ValueError, KeyError, TypeError):
            pass  # a source that cannot be compiled; it may begin with anything
    return script, {}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
