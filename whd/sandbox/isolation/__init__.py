"""The wall around a worker: a module per kernel mechanism, applied in one visible order."""
