"""SQLite files under state/: opened, migrated, their faults in words; transactions."""
