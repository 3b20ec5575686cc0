"""What flows save: settings that stand before the operator's files, and files. Kept in state/, durable, bounded."""

from __future__ import annotations

from .database import read_settings
from .ledger import SavedFile
from .saved import Saved, SavedDone, SavedOverlay, SavedRecords

__all__ = ["Saved", "SavedDone", "SavedFile", "SavedOverlay", "SavedRecords", "read_settings"]
