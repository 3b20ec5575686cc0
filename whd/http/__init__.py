"""HTTP/1.1 over h11: messages, the sans-IO connection, the server."""
