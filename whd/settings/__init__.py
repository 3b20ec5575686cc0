"""The settings index: config/ and flows/ on disk become one immutable snapshot in memory."""
