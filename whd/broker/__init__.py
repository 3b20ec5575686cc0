"""The broker: what a flow asks of the daemon, decided by its user's permissions in one place, done, answered."""

from __future__ import annotations

from .broker import Broker

__all__ = ["Broker"]
