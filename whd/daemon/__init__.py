"""One run of `whd serve`: from start to drain, with signals and the service manager."""
