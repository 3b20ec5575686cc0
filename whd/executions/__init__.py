"""Executions in memory: how they run (runner), run again (reruns), are found (lookup), which node runs them (queue)."""
