"""The HTTP server: worker processes, limits on connections, requests and waits, range requests, errors."""
