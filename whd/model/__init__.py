"""Values: the settings snapshot, the options, an execution's record. Nothing here does I/O."""
