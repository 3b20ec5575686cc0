"""Classic BPF programs for seccomp(2): from a table of system calls to the bytes that the kernel loads.

A binary search over the number instead of a list of comparisons: the kernel runs a new filter once for each of its
system calls to fill its cache of constant answers, which is most of what loading costs. Values only; no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct

# linux/bpf_common.h and linux/filter.h: struct sock_filter is code, jump if true, jump if false, constant.
_INSTRUCTION = Struct("=HBBI")
_LD_W_ABS, _JA, _JEQ, _JGE, _RET, _AND = 0x20, 0x05, 0x15, 0x35, 0x06, 0x54
# linux/seccomp.h, struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6], little-endian.
_NR, _ARCH, _ARGS = 0, 4, 16
_WORD = 0xFFFFFFFF
_FURTHEST_JUMP = 255


@dataclass(frozen=True, slots=True)
class Check:
    """Holds if argument `index`, as 64 bits, masked with `mask`, is one of `values` (each below 2**32)."""

    index: int
    mask: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to a call: `action` if every check holds, else `otherwise` (both as seccomp(2) returns them)."""

    action: int
    checks: tuple[Check, ...] = ()
    otherwise: int = 0


def program(audit_arch: int, rules: Mapping[int, Rule], default: int) -> bytes:
    """The filter: `rules` by system call number; `default` for all others and for any other architecture.

    x32's numbers have bit 30 set and lie behind every entry of the table: they are among "all others".
    """
    unknown = Rule(default)
    ranges: list[tuple[int, Rule]] = [(0, unknown)]
    for number in sorted(rules):
        _append(ranges, number, rules[number])
        _append(ranges, number + 1, unknown)
    return b"".join(
        (
            _instruction(_LD_W_ABS, _ARCH),
            _instruction(_JEQ, audit_arch, if_true=1),
            _instruction(_RET, default),
            _instruction(_LD_W_ABS, _NR),
            _search(ranges),
        )
    )


def length(code: bytes) -> int:
    """How many instructions a program has."""
    return len(code) // _INSTRUCTION.size


def _append(ranges: list[tuple[int, Rule]], start: int, rule: Rule) -> None:
    if ranges[-1][0] == start:
        ranges.pop()
    if not ranges or ranges[-1][1] != rule:
        ranges.append((start, rule))


def _search(ranges: list[tuple[int, Rule]]) -> bytes:
    if len(ranges) == 1:
        return _rule(ranges[0][1])
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    start = ranges[middle][0]
    if length(below) <= _FURTHEST_JUMP:
        return _instruction(_JGE, start, if_true=length(below)) + below + above
    return _instruction(_JGE, start, if_false=1) + _instruction(_JA, length(below)) + below + above


def _rule(rule: Rule) -> bytes:
    """The checks, back to front, since each jumps over all that follow it when it fails."""
    code = _instruction(_RET, rule.action)
    for check in reversed(rule.checks):
        code = _check(check, length(code)) + code
    return code + _instruction(_RET, rule.otherwise) if rule.checks else code


def _check(check: Check, to_failure: int) -> bytes:
    """Falls through when the check holds, else jumps over `to_failure` further instructions."""
    low = [_instruction(_LD_W_ABS, _ARGS + 8 * check.index)]
    if check.mask & _WORD != _WORD:
        low.append(_instruction(_AND, check.mask & _WORD))
    high = [
        _instruction(_LD_W_ABS, _ARGS + 8 * check.index + 4),
        _instruction(_AND, check.mask >> 32),
        _instruction(_JEQ, 0, if_false=to_failure),
    ]
    if not check.mask >> 32:
        high = []
    for position, value in enumerate(check.values):
        later = len(check.values) - 1 - position
        if later:
            low.append(_instruction(_JEQ, value, if_true=later))
        else:
            low.append(_instruction(_JEQ, value, if_false=len(high) + to_failure))
    return b"".join(low + high)


def _instruction(code: int, constant: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, constant)
