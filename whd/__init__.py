"""whd: a self-hosted webhook daemon that runs sandboxed Python flows."""

__version__ = "0.1.0"
