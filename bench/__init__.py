"""Load tests of whd: scripts that a user runs, and the modules they share. README.md says how."""
