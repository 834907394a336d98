"""Check the first block of a file: may the file be installed on this board?"""

from asyncio import sleep_ms

from .bounds import ENVELOPE_BYTES
from .parts import Part
from .release import check, parse, trusted, unwrap, verify


def is_trusted(agent):
    """Is the key that signed the record's update still one of update.keys?"""
    return trusted(agent.record["update"], _keys(agent))


def _keys(agent):
    from .pss import public_keys

    return public_keys(agent.config["update.keys"])


def _here(agent):
    """(version, image, version floor) of this board."""
    life = agent.life
    return life.version(), life.image(), life.floor(agent.board.floor())


async def run(agent, block):
    """Check the first block; store the image's offset, its hash and the signing key in the record's update.

    Returns the manifest, or None for an unsigned image. UpdateError if the file is refused, for example because it has
    no signature and update.keys requires one.
    """
    board, update = agent.board, agent.record["update"]
    found = unwrap(block)
    if not found and not board.raw and bytes(block[:8]) != b"IOTO-PAK":
        from .image import is_image

        is_image(block)  # neither an envelope, an image nor a packed file: refused
    by = None
    with Part():
        for by in verify(found, _keys(agent)):
            await sleep_ms(0)
    said = None
    skip = 0
    image = update["checksum"]
    if found:
        skip = ENVELOPE_BYTES
        with Part():
            version, runs, floor = _here(agent)
        with Part():
            said = parse(found[0])
            check(said, agent.config["product"], update["version"], version, board.chip, runs, board.time_s(), floor)
        image = said["sha256"]
    update.update(skip=skip, image=image, by=by)
    await agent.save()
    return said
