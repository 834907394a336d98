"""How a device gets its token, once: imported only then."""

from .cloud import is_token
from .errors import UpdateError
from .http_parse import parse_url
from .timezone import local


async def register(cloud):
    """Ask for `api` and `token` with the product's id, keep the reply; False while nobody has claimed the device."""
    agent = cloud.agent
    product = agent.config["product"]
    created = "%04d-%02d-%02dT%02d:%02d:%02dZ" % local((0,), agent.board.time_s() or 0)[:6]
    reply = await cloud.post(
        agent.config["builder"].rstrip("/") + "/device/register", product, dict(agent.device, created=created, product=product)
    )
    if not isinstance(reply, dict) or len(reply) < 2 or reply.get("token") and not is_token(reply["token"]):
        raise UpdateError("reply_malformed", "registration")
    if reply.get("api"):  # it is kept: nobody would ask for another
        parse_url(reply["api"])
    cloud.keep(dict(reply, id=agent.device["id"]))
    return agent.registered()
