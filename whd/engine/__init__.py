"""One process that serves: its parts wired (engine, vetting), HTTP in front (http_engine), what is shared (shared)."""
