"""Resolve host names and cache the addresses as long as they are valid."""

from asyncio import sleep_ms
from time import ticks_add, ticks_diff, ticks_ms

from .parts import Part

_HOSTS_MOST = 4
_HOLD_MOST_S = 3600


class Resolver:
    """Resolves host names and caches the addresses as long as they are valid.

    `servers()` returns the addresses of name servers. An empty list: there is no link. None: the port's own getaddrinfo
    is used, which blocks the loop. getaddrinfo is always used for names in .local, because only mDNS resolves them. The
    cache `kept`, {host: [addresses, ticks when they expire]}, outlives the Resolver.
    """

    def __init__(self, servers=lambda: None, kept=None, port=53):
        self.servers = servers
        self.port = port
        self.kept = {} if kept is None else kept

    async def address(self, host):
        """Return a literal address for `host`, or `host` itself for getaddrinfo.

        OSError if there is no address or no reply.
        """
        if host == "localhost":
            return "127.0.0.1"
        if ":" in host or not host.strip("0123456789."):
            return host
        kept = self.kept.get(host)
        # Ticks wrap around after days, so an expired address may be used again. It is dropped when connecting fails.
        if not kept or not kept[0] or ticks_diff(kept[1], ticks_ms()) <= 0:
            servers = self.servers()
            if servers is None or host.endswith(".local"):
                return host
            await sleep_ms(0)  # between two imports
            with Part():
                from .dns import look_up

                found, holds_s = await look_up(host, servers, self.port)
            if len(self.kept) >= _HOSTS_MOST:
                self.kept.clear()
            kept = self.kept[host] = [found, ticks_add(ticks_ms(), min(holds_s, _HOLD_MOST_S) * 1000)]
        return kept[0][0]

    def forget(self, host):
        """Drop the host's first address, which did not answer: address() returns the next one, or asks again."""
        if self.kept.get(host, [[]])[0]:
            self.kept[host][0].pop(0)
