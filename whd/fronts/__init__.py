"""Several front processes on one set of listening sockets: `processes` above 1 (docs/processes.md).

    whd serve             the hub: listens, hands connections out; only writer of the stores; locks, control socket
     ├─ front 0           HTTP, settings snapshot, broker, a zygote and workers of its own
     └─ front 1           …

With one process none of this exists: the daemon is hub and front in one. What a front shares with the others stands
behind the interfaces of engine.shared.Shared and pool.quota.PoolQuota; remote.py and quota.py are the front's side of
them, sessions.py the hub's. Reading order: partition (who owns what), link (how they speak), records and counters (what
they say), leases, quota, remote and front, then process, sessions, operations (what commands ask) and hub.

Rules: nothing on the way of a sync call waits for another process. An execution belongs to one front from its start to
its end, and its id says to which. Whatever must be one is decided in the hub, which knows nothing of HTTP or flows.
"""
