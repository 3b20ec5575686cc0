"""Executions: their record, their life, their store."""
