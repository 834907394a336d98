"""What comes in: the server and its worker processes, limits on connections, requests and waits, ranges, errors."""
