"""Who may: keys of webhooks, permissions of users."""
