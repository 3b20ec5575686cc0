"""Tests of whd.executions."""
