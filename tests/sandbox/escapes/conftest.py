"""Finds that are still open: each is expected to fail, strictly, until it is mended and leaves this list.

They concern the language layer and what a warm process keeps for the next flow of the same user; the wall around the
process stands behind them (docs/security.md, Known and open).
"""

from __future__ import annotations

import pytest

OPEN = frozenset(
    {
        "test_type_itself_is_out_of_reach[the origin of an alias]",
        "test_type_itself_is_out_of_reach[a base class]",
        "test_type_itself_is_out_of_reach[a base class with a parameter]",
        "test_type_itself_is_out_of_reach[an attribute of an alias]",
        "test_type_itself_is_out_of_reach[the enum behind the facade]",
        "test_nothing_of_a_flow_is_left_for_the_next[attributes by copy]",
        "test_nothing_of_a_flow_is_left_for_the_next[attributes by a method of a library's class]",
        "test_nothing_of_a_flow_is_left_for_the_next[attributes by a property's setter]",
        "test_nothing_of_a_flow_is_left_for_the_next[a template of re.sub]",
        "test_nothing_of_a_flow_is_left_for_the_next[the netmask of a network]",
        "test_nothing_of_a_flow_is_left_for_the_next[the prefix of a network]",
        "test_nothing_of_a_flow_is_left_for_the_next[flags of re]",
        "test_nothing_of_a_flow_is_left_for_the_next[the default of deepcopy]",
        "test_nothing_of_a_flow_is_left_for_the_next[a layout by a hash of a dataclass]",
        "test_nothing_of_a_flow_is_left_for_the_next[a date's format by a hash of a dataclass]",
        "test_a_finalizer_of_a_flow_does_not_run_in_the_next",
        "test_a_flow_leaves_the_memory_that_it_found[in a cycle]",
        "test_a_flow_leaves_the_memory_that_it_found[at a shared function]",
        "test_a_flow_leaves_the_memory_that_it_found[in the cache of addresses]",
        "test_a_flow_leaves_the_memory_that_it_found[in the cache of patterns]",
        "test_an_error_that_cannot_be_told_ends_its_flow_and_not_the_process",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name == "test_attack_finds.py" and item.path.parent.name == "escapes" and item.name in OPEN:
            item.add_marker(pytest.mark.xfail(strict=True, reason="known and open: docs/security.md"))
