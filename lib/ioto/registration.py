"""Register the device to get its token, and ask later whether its api has moved. Imported only when needed."""

from .cloud import is_token
from .errors import UpdateError
from .http_parse import parse_url
from .log import log
from .timezone import local


async def register(cloud):
    """Request `api` and `token` with the product id and store the reply. OSError until the device is claimed.

    A registration is discarded when a reply says that the cloud does not know the device. That reply may be forged: if
    a new registration is refused (for example because the id is in use), the discarded one is restored.
    """
    agent = cloud.agent
    was = agent.provision.get("was")
    try:
        reply = await _ask(cloud)
    except UpdateError as e:
        if was and e.reason == "http_status":
            cloud.keep(dict(was, id=agent.device["id"]))
        raise
    if was:
        reply["was"] = was
    cloud.keep(reply)
    if not agent.registered():
        raise OSError("this device is not claimed yet")


async def renew(cloud):
    """Ask the Builder again. The stored registration remains valid if the Builder does not answer or refuses."""
    agent = cloud.agent
    kept = dict(agent.provision)
    if "asked" in kept:
        kept["asked"] = agent.board.time_s() or 1
    try:
        if not agent.config["builder"]:
            return
        reply = await _ask(cloud)
        if reply.get("api") and reply.get("token"):
            kept.update(reply)
    except (OSError, UpdateError) as e:
        log("warn", "builder: %r" % e)
    cloud.keep(kept)


async def _ask(cloud):
    agent = cloud.agent
    product = agent.config["product"]
    created = "%04d-%02d-%02dT%02d:%02d:%02dZ" % local((0,), agent.board.time_s() or 0)[:6]
    builder = agent.config["builder"].rstrip("/")
    reply = await cloud.post(
        builder + "/device/register", product, dict(agent.device, created=created, product=product)
    )
    if not isinstance(reply, dict) or len(reply) < 2 or reply.get("token") and not is_token(reply["token"]):
        raise UpdateError("reply_malformed", "registration")
    reply["id"] = agent.device["id"]
    if reply.get("api"):
        host = parse_url(reply["api"])[1]
        if host != parse_url(builder)[1]:
            if not is_one_of(host, agent.config["registration.hosts"]):
                raise UpdateError("url_invalid", "api: %s is not in registration.hosts" % host)
            reply["asked"] = agent.board.time_s() or 1  # asked again after a week
    return reply


def is_one_of(host, hosts):
    """Is `host` one of `hosts`? `.example.com` matches all its subdomains."""
    for each in hosts:
        if host == each or each[0] == "." and host.endswith(each):
            return True
    return False
