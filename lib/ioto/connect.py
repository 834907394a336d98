"""Create the transport for one check-in or one download."""

from .http import Client
from .parts import Part
from .resolver import Resolver


def resolver(agent):
    """Return a Resolver that uses the name servers of the configuration or of the link.

    Addresses are cached in the agent.
    """
    given = agent.config["network.dns"]
    link = agent.link
    return Resolver((lambda: given or link.servers()) if link else lambda: given or None, agent.addresses)


def client(agent, seen=None):
    """Return the configured http.Client or blocking.Client.

    `seen` is called with each certificate of a server's chain.
    """
    config = agent.config
    limit_ms = config["network.timeout"] * 1000
    if config["update.transport"] == "urequests":
        from .blocking import Client as Blocking

        return Blocking(limit_ms, not config["tls.verify"], config["tls.plain"])
    return Client(resolver(agent), _context(config, seen), limit_ms, config["tls.plain"])


def _context(config, seen):
    with Part():
        from .certs import configured

        return configured(config, seen)
