"""What holds of every Queue: tried on a node's own one and on one that two nodes share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.executions.queue_nodes import LEASE_S, SharedQueue
from tests.executions.runner_fakes import interrupted, run_scene
from whd.errors import StateError
from whd.executions.queue import Claim, LocalQueue, Queue
from whd.store.interface import Stored


async def nothing() -> list[Stored]:
    return []


def make(kind: str) -> Queue:
    return LocalQueue(nothing) if kind == "local" else SharedQueue().node()


def ids(claims: Sequence[Claim]) -> list[str]:
    return [claim.stored.execution.id for claim in claims]


EVERY_KIND = pytest.mark.parametrize("kind", ["local", "shared"])


@EVERY_KIND
def test_a_claim_gives_at_most_so_many_and_the_oldest_first(kind: str) -> None:
    async def scene() -> None:
        queue = make(kind)
        offered = [interrupted(number) for number in range(5)]
        for stored in (offered[3], offered[0], offered[4], offered[1], offered[2]):
            await queue.offer(stored)
        wanted = [stored.execution.id for stored in offered]
        assert ids(await queue.claim(2)) == wanted[:2]
        assert ids(await queue.claim(2)) == wanted[2:4]
        assert ids(await queue.claim(2)) == wanted[4:]
        assert ids(await queue.claim(2)) == []

    run_scene(scene())


@EVERY_KIND
def test_what_is_offered_twice_waits_once(kind: str) -> None:
    async def scene() -> None:
        queue, stored = make(kind), interrupted()
        await queue.offer(stored)
        await queue.offer(stored)
        assert ids(await queue.claim(9)) == [stored.execution.id]
        assert ids(await queue.claim(9)) == []

    run_scene(scene())


@EVERY_KIND
def test_a_claim_is_finished_once(kind: str) -> None:
    async def scene() -> None:
        queue, stored = make(kind), interrupted()
        await queue.offer(stored)
        (claim,) = await queue.claim(1)
        assert claim.epoch >= 1
        assert not queue.finish(stored.execution.id, claim.epoch + 1)
        assert queue.finish(stored.execution.id, claim.epoch)
        assert not queue.finish(stored.execution.id, claim.epoch)
        assert not queue.finish("another", 1)

    run_scene(scene())


@EVERY_KIND
def test_what_is_given_back_is_claimed_again_with_a_higher_epoch_and_the_old_one_is_void(kind: str) -> None:
    async def scene() -> None:
        queue, stored = make(kind), interrupted()
        name = stored.execution.id
        await queue.offer(stored)
        (first,) = await queue.claim(1)
        queue.release(name, first.epoch)
        (second,) = await queue.claim(1)
        assert second.epoch > first.epoch
        queue.release(name, first.epoch)
        assert ids(await queue.claim(1)) == []
        assert not queue.finish(name, first.epoch)
        assert queue.finish(name, second.epoch)

    run_scene(scene())


@EVERY_KIND
def test_what_is_given_back_keeps_its_turn(kind: str) -> None:
    async def scene() -> None:
        queue = make(kind)
        for number in range(3):
            await queue.offer(interrupted(number))
        oldest, *_others = await queue.claim(2)
        queue.release(oldest.stored.execution.id, oldest.epoch)
        assert ids(await queue.claim(1)) == [oldest.stored.execution.id]

    run_scene(scene())


@EVERY_KIND
def test_renew_keeps_what_was_claimed(kind: str) -> None:
    async def scene() -> None:
        queue, stored = make(kind), interrupted()
        await queue.offer(stored)
        (claim,) = await queue.claim(1)
        assert list(await queue.renew()) == []
        assert ids(await queue.claim(1)) == []
        assert queue.finish(stored.execution.id, claim.epoch)

    run_scene(scene())


# ---- two nodes -------------------------------------------------------------------------------------------------------


def test_no_execution_is_claimed_by_two_nodes() -> None:
    async def scene() -> None:
        shared = SharedQueue()
        nodes = shared.node(), shared.node()
        for number in range(50):
            await nodes[number % 2].offer(interrupted(number))
        claimed: list[str] = []
        for turn in range(20):
            claimed += ids(await nodes[turn % 2].claim(3))
        assert len(claimed) == len(set(claimed)) == 50

    run_scene(scene())


def test_renew_keeps_a_claim_from_the_other_node_and_without_it_the_claim_is_lost() -> None:
    async def scene() -> None:
        shared = SharedQueue()
        one, other = shared.node(), shared.node()
        stored = interrupted()
        name = stored.execution.id
        await one.offer(stored)
        (first,) = await one.claim(1)
        for _ in range(3):
            shared.now_s += 0.9 * LEASE_S
            assert list(await one.renew()) == []
            assert ids(await other.claim(1)) == []
        shared.now_s += 1.1 * LEASE_S
        (second,) = await other.claim(1)
        assert second.epoch > first.epoch
        assert not one.finish(name, first.epoch)
        assert list(await one.renew()) == [name]
        assert list(await one.renew()) == []
        assert other.finish(name, second.epoch)

    run_scene(scene())


# ---- the local one ---------------------------------------------------------------------------------------------------


def test_the_first_claim_reads_what_a_stop_interrupted_and_takes_what_the_node_owns() -> None:
    async def scene() -> None:
        found = [interrupted(number) for number in range(6)]
        owned = [stored.execution.id for stored in found[::2]]
        reads: list[int] = []

        async def read() -> list[Stored]:
            reads.append(1)
            return found

        queue = LocalQueue(read, lambda execution_id: execution_id in owned)
        assert reads == []
        assert ids(await queue.claim(2)) == owned[:2]
        assert ids(await queue.claim(2)) == owned[2:]
        assert reads == [1]

    run_scene(scene())


def test_what_could_not_be_read_is_read_by_the_next_claim() -> None:
    async def scene() -> None:
        stored = interrupted()
        answers: list[Exception | list[Stored]] = [StateError("the disk"), [stored]]

        async def read() -> list[Stored]:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        queue = LocalQueue(read)
        with pytest.raises(StateError):
            await queue.claim(1)
        assert ids(await queue.claim(1)) == [stored.execution.id]

    run_scene(scene())


def test_two_claims_at_once_read_once() -> None:
    async def scene() -> None:
        found = [interrupted(number) for number in range(4)]
        reading = asyncio.Event()

        async def read() -> list[Stored]:
            await reading.wait()
            return found

        queue = LocalQueue(read)
        claims = [asyncio.ensure_future(queue.claim(3)) for _ in range(2)]
        await asyncio.sleep(0)
        reading.set()
        first, second = await asyncio.gather(*claims)
        claimed = ids(first) + ids(second) + ids(await queue.claim(9))
        assert sorted(claimed) == [stored.execution.id for stored in found]

    run_scene(scene())
