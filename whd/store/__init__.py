"""Executions' records: the interface first, then the store on SQLite."""
