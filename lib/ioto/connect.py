"""The transport, made for one check-in or one download and dropped after it."""

from .certs import configured
from .http import Client
from .net import Resolver


def resolver(agent):
    """Names are looked up where the configuration or the link says; addresses are kept in the agent."""
    given = agent.config["network.dns"]
    link = agent.link
    return Resolver((lambda: given or link.servers()) if link else lambda: given or None, agent.addresses)


def client(agent, seen=None):
    """An http.Client (or blocking.Client) as the configuration says; `seen` is shown each certificate of a server's chain."""
    config = agent.config
    limit_ms = config["network.timeout"] * 1000
    if config["update.transport"] == "urequests":
        from .blocking import Client as Blocking

        return Blocking(limit_ms, not config["tls.verify"], config["tls.plain"])
    return Client(resolver(agent), configured(config, seen), limit_ms, config["tls.plain"])
