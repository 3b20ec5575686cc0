"""The far side: what runs in processes of its own, away from the daemon and its secrets."""
