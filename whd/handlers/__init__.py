"""The handlers that the route table names."""
