"""Executions' records: the interface first, then the store on SQLite and one in memory, and which one is used."""

from __future__ import annotations

from .interface import ExecutionReader, ExecutionStore, Stored
from .opening import open_reader, open_store

__all__ = ["ExecutionReader", "ExecutionStore", "Stored", "open_reader", "open_store"]
