"""The filter of both machines, run by an interpreter of classic BPF: what it answers to every number there is."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from struct import iter_unpack, pack, unpack_from

import pytest

from whd.sandbox.isolation import bpf, seccomp
from whd.sandbox.isolation.syscalls import NUMBERS

KILL, ALLOW, REFUSE = seccomp.KILL_PROCESS, seccomp.ALLOW, seccomp.ERRNO | errno.EPERM
MACHINES = sorted(NUMBERS)
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
# linux/audit.h: i386, 32-bit arm, and each other
FOREIGN_ARCHS = {0x40000003, 0x40000028, 0xC000003E, 0xC00000B7}
GOOD_ARGUMENTS = {"mmap": (0, 4096, 3, 0x22, 2**64 - 1, 0), "madvise": (0, 4096, 4)}


def answer(code: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the program returns for a call (struct seccomp_data of linux/seccomp.h)."""
    padded = arguments + (0,) * (6 - len(arguments))
    data = pack("<iIQ6Q", number - 2**32 if number >= 2**31 else number, arch, 0, *padded)
    instructions = list(iter_unpack("=HBBI", code))
    position, register = 0, 0
    while True:
        operation, if_true, if_false, constant = instructions[position]
        position += 1
        if operation == 0x20:
            (register,) = unpack_from("<I", data, constant)
        elif operation == 0x54:
            register &= constant
        elif operation == 0x15:
            position += if_true if register == constant else if_false
        elif operation == 0x35:
            position += if_true if register >= constant else if_false
        elif operation == 0x05:
            position += constant
        elif operation == 0x06:
            return int(constant)
        else:
            raise AssertionError(f"unknown operation {operation:#x}")


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_named_call_is_in_its_class(machine: str) -> None:
    code = seccomp.program(machine, seccomp.ALLOWED)
    arch = seccomp.AUDIT_ARCHS[machine]
    for name, number in NUMBERS[machine].items():
        expected = ALLOW if name in seccomp.ALLOWED else REFUSE if name in seccomp.REFUSED else KILL
        assert answer(code, arch, number, GOOD_ARGUMENTS.get(name, ())) == expected, name


def test_every_number_without_a_name_kills(machine: str) -> None:
    code = seccomp.program(machine, seccomp.ALLOWED)
    named = set(NUMBERS[machine].values())
    for number in (*range(1200), 2**30, 2**30 + 39, 2**31, 2**32 - 1):
        if number not in named:
            assert answer(code, seccomp.AUDIT_ARCHS[machine], number) == KILL, number


def test_every_call_of_the_x32_abi_kills() -> None:
    code = seccomp.program("x86_64", seccomp.ALLOWED)
    for number in range(1200):
        assert answer(code, seccomp.AUDIT_ARCHS["x86_64"], 0x40000000 | number) == KILL


def test_every_call_of_another_architecture_kills(machine: str) -> None:
    code = seccomp.program(machine, seccomp.ALLOWED)
    for arch in FOREIGN_ARCHS - {seccomp.AUDIT_ARCHS[machine]}:
        for number in range(500):
            assert answer(code, arch, number) == KILL


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("mmap", (0, 4096, 3, 0x22), ALLOW),
        ("mmap", (0, 4096, 0, 0x4022), ALLOW),
        ("mmap", (0, 4096, 7, 0x22), KILL),
        ("mmap", (0, 4096, 4, 0x22), KILL),
        ("mmap", (0, 4096, 3, 0x02), KILL),
        ("mmap", (0, 4096, 3 | 1 << 32, 0x22), KILL),
        ("mmap", (0, 4096, 0, 0x4032), ALLOW),
        ("mmap", (0, 4096, 3, 0x21), KILL),
        ("mmap", (0, 4096, 3, 0x23), KILL),
        ("mmap", (0, 4096, 3, 0x28), KILL),
        ("mmap", (0, 4096, 3, 0x122), KILL),
        ("mmap", (0, 4096, 3, 0x2022), KILL),
        ("mmap", (0, 4096, 3, 0x8022), KILL),
        ("mmap", (0, 4096, 3, 0x40022), KILL),
        ("mmap", (0, 4096, 3, 1 << 32 | 0x22), KILL),
        ("mremap", (0, 4096, 8192, 1), ALLOW),
        ("mremap", (0, 4096, 8192, 3), KILL),
        ("mremap", (0, 4096, 8192, 5), KILL),
        ("madvise", (0, 4096, 4), ALLOW),
        *(("madvise", (0, 4096, advice), KILL) for advice in range(26) if advice != 4),
        ("madvise", (0, 4096, 1 << 32 | 4), KILL),
        ("mprotect", (0, 4096, 3), ALLOW),
        ("mprotect", (0, 4096, 5), KILL),
        ("sendto", (3, 1, 1, 0x4000, 0), ALLOW),
        ("sendto", (3, 1, 1, 1, 0), KILL),
        ("sendto", (3, 1, 1, 0, 1), KILL),
        ("sendto", (3, 1, 1, 0, 1 << 32), KILL),
        ("recvfrom", (3, 1, 1, 0x140), ALLOW),
        ("recvfrom", (3, 1, 1, 0x2000), KILL),
        ("futex", (1, 0x80), ALLOW),
        ("futex", (1, 0x189), ALLOW),
        ("futex", (1, 0x86), KILL),
        ("futex", (1, 1 << 32), KILL),
        ("clock_gettime", (11,), ALLOW),
        ("clock_gettime", (2**64 - 6,), KILL),
        ("clock_gettime", (2**32 - 6,), KILL),
    ],
)
def test_arguments_decide(machine: str, name: str, arguments: tuple[int, ...], expected: int) -> None:
    code = seccomp.program(machine, seccomp.ALLOWED)
    assert answer(code, seccomp.AUDIT_ARCHS[machine], NUMBERS[machine][name], arguments) == expected


def test_the_canary_differs_only_in_the_last_resort(machine: str) -> None:
    code = seccomp.program(machine, seccomp.ALLOWED, last_resort=seccomp.ERRNO | seccomp.CANARY_ERRNO)
    real = seccomp.program(machine, seccomp.ALLOWED)
    arch = seccomp.AUDIT_ARCHS[machine]
    for number in range(600):
        in_canary, meant = answer(code, arch, number), answer(real, arch, number)
        assert (in_canary == seccomp.ERRNO | seccomp.CANARY_ERRNO) if meant == KILL else in_canary == meant


def test_who_waits_may_do_one_thing_more(machine: str) -> None:
    code = seccomp.program(machine, seccomp.WAITING)
    arch = seccomp.AUDIT_ARCHS[machine]
    assert answer(code, arch, NUMBERS[machine]["wait4"]) == ALLOW
    assert answer(code, arch, NUMBERS[machine]["clone"]) == KILL


def test_no_call_is_in_two_classes_or_without_a_number() -> None:
    assert not set(seccomp.ALLOWED) & seccomp.REFUSED
    known = set().union(*NUMBERS.values())
    assert known >= set(seccomp.ALLOWED) | seccomp.REFUSED


def test_the_program_fits_the_kernel(machine: str) -> None:
    """linux/bpf_common.h, BPF_MAXINSNS."""
    assert bpf.length(seccomp.program(machine, seccomp.WAITING)) <= 4096


def test_long_programs_jump_far() -> None:
    """Beyond 255 instructions a conditional jump does not reach: 2,000 scattered numbers, each with its own answer."""
    rules = {3 * number: bpf.Rule(seccomp.ERRNO | number % 100) for number in range(2000)}
    code = bpf.program(7, rules, KILL)
    for number in range(0, 6000, 7):
        expected = seccomp.ERRNO | number // 3 % 100 if number % 3 == 0 else KILL
        assert answer(code, 7, number) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].is_file():
        pytest.skip(f"no kernel headers here: {HEADERS[machine]}")
    text = HEADERS[machine].read_text()
    found = dict(re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", text, re.MULTILINE))
    # asm-generic names two calls otherwise than 64-bit machines do.
    for ours, theirs in (("newfstatat", "fstatat"), ("sync_file_range", "sync_file_range2")):
        if machine == "aarch64" and ours not in found:
            found[ours] = found[theirs]
    newest = max(int(number) for name, number in found.items() if name != "syscalls")
    for name, number in NUMBERS[machine].items():
        if number <= newest:
            assert found.get(name) == str(number), name
