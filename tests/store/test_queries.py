"""What SQLite makes of the searches: each goes through an index."""

import asyncio
import re
from pathlib import Path

from whd.model.execution import Status, new_id

from .store_samples import SOURCE, make, opened


def test_no_search_reads_the_whole_table(tmp_path: Path) -> None:
    """Whatever is asked for, SQLite goes through an index: a rare name costs no more than a common one."""

    async def main() -> None:
        plans: list[str] = []
        async with opened(tmp_path / "store") as store:
            for number in range(2000):
                store.save_nowait(make(webhook_name=str(number % 20)), SOURCE)
            await store.flush()
            thread = store._reader._thread
            assert thread is not None
            statements: list[str] = []
            thread._connection.set_trace_callback(statements.append)
            await store.list(webhook="none")
            await store.list(webhook="3", client="acme", status=Status.ENDED_SUCCESS)
            await store.list(status=Status.RUNNING)
            await store.list(before=new_id())
            await store.unfinished()
            await store.get(new_id())
            thread._connection.set_trace_callback(None)
            for statement in statements:
                plans += [row[3] for row in thread._connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert plans
        assert not [plan for plan in plans if re.match("SCAN (e|x|execution)\\b", plan)]

    asyncio.run(main())
