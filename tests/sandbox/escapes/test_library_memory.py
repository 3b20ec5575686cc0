"""What the library remembers of what it is given, found by asking all of it: exact texts and numbers, nothing else.

An execution after another in the same process gets what the library remembers; what is equal to a text without being
one could decide for it, and code that hangs on what is kept could run in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

# The containers that grow with calls, by how their path ends, and of what. A new one is a new memory of the library:
# look at what is equal to what in it, mend it in modules/library.py if it takes more than exact texts and numbers.
KNOWN = {
    # Which classes are one, by weak references: no flow can register one, and they are compared by identity.
    "'_abc_impl' > set": {"ReferenceType"},
    "re > dict > '_cache'": {"type", "str", "bytes", "int", "Pattern"},
    "re > dict > '_cache2'": {"type", "str", "bytes", "int", "Pattern"},
    "'RegexFlag' > dict > '_value2member_map_'": {"int", "RegexFlag"},
    "> '_netmask_cache'": {"str", "int", "IPv4Address", "IPv6Address"},
    "> urlsplit > dict": {
        "str",
        "bytes",
        "bool",
        "type",
        "SplitResult",
        "SplitResultBytes",
        "_lru_list_elem",
        "object",
    },
}


@pytest.fixture(scope="module")
def swept() -> Any:
    """What library_sweep.py found, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.escapes.library_sweep"],
        cwd=ROOT, capture_output=True, timeout=300, check=True,
    )  # fmt: skip
    return json.loads(ended.stdout)


def test_no_call_answers_with_what_no_flow_may_have(swept: Any) -> None:
    """Proof: something that flows are offered, called with a class, a function, a method, a descriptor, a traceback,
    gives out a real module, a frame, `type`, a class that it made of these, or a container that all executions share.
    """
    assert swept["answers"] == []


def test_nothing_of_a_flows_is_kept(swept: Any) -> None:
    """Proof: an object of a flow's class, or of an enum of its, is alive when nobody but the library could hold it."""
    kept = {kind: [path for path in found if path not in LEAKS] for kind, found in swept["kept"].items()}
    assert len(kept) == 6
    assert not any(kept.values()), kept


# From Python 3.12 on its C code loses a reference when it refuses its arguments: held by nothing that could be asked.
LEAKS = frozenset({"typing.TypeVar"})


def test_only_known_memories_grow_and_with_exact_values(swept: Any) -> None:
    """Proof: a container of the library's holds something new that is not a plain text or number, True or 1.0 say."""
    assert swept["changed"], "the sweep sees nothing"
    for path, kinds in swept["changed"].items():
        allowed = [known for end, known in KNOWN.items() if path.endswith(end)]
        assert allowed, f"{path} is new: {kinds}"
        assert set(kinds) <= allowed[0], path
