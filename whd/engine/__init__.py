"""One process that serves: its parts wired (engine), HTTP in front (http_engine), what is shared (shared)."""
