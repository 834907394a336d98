"""Names: the addresses of hosts, kept as long as they hold."""

from asyncio import sleep_ms
from time import ticks_add, ticks_diff, ticks_ms

from .parts import Part

_HOSTS_MOST = 4
_HOLD_MOST_S = 3600


class Resolver:
    """Addresses of host names, kept as long as they hold.

    `servers()` returns the addresses of name servers; an empty list: there is no link; None: the port's own
    getaddrinfo, which blocks the loop, has to do. So it has for names in .local, which no name server knows (mDNS).
    `kept` outlives this: {host: [addresses, ticks when they end]}.
    """

    def __init__(self, servers=lambda: None, kept=None, port=53):
        self.servers = servers
        self.port = port
        self.kept = {} if kept is None else kept

    async def address(self, host):
        """A literal address for `host`; OSError when there is none or nobody answers."""
        if host == "localhost":
            return "127.0.0.1"
        if ":" in host or not host.strip("0123456789."):
            return host
        kept = self.kept.get(host)
        # Ticks come round after days: what is kept longer by that is dropped when connecting fails.
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
        """The address did not answer: the next one, or ask again."""
        if self.kept.get(host, [[]])[0]:
            self.kept[host][0].pop(0)
