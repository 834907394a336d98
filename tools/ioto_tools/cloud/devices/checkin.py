"""Answers a device's check-in, without database access if nothing is new.

The token of a cached device, its releases and their policies are in memory (worker_cache.py), and the time of the
check-in is written later (deferred_writes.py). A first offer, and news about the last offer, are stored in the database
before the device gets its answer.
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from ioto import semver

from ..http.errors import Refusal, Unavailable, authentication_failed, cannot_find_device
from ..images import links
from ..rollout import failures, grants, leases, offers, shared_ids
from ..rollout.catalogue import Product
from ..rules import failure_details, packed_files, selection, update_states
from ..rules.packed_files import PackedFile
from ..rules.selection import Grant, Release, RequestingDevice
from ..rules.update_states import OPEN
from ..storage import change_log, queries
from ..storage.tables import Row
from . import device_cache, messages, tokens
from .device_cache import CachedDevice
from .stage_progress import advance_stages
from .worker_cache import WorkerCache

if TYPE_CHECKING:
    from ..site.site import Site

Run = Callable[..., Awaitable[Any]]  # run(function, *arguments) awaits a function that uses the database

parsed = lru_cache(1000)(semver.parse)  # a fleet runs only a few versions


async def check_in(
    site: "Site", memory: WorkerCache, run: Run, token: str, fields: Row, base_url: Callable[[], str]
) -> Row:
    """Answer the check-in `fields`: return the response body, {} or the offered update.

    `run(function, *arguments)` awaits a function that uses the database; `base_url()` returns the URL at which the
    device reaches this cloud.
    """
    message = messages.check_in(fields)
    read = partial(run, site.database.read)
    await memory.refresh(read)
    await advance_stages(site, memory, run)
    now_s = site.now_s()
    device, more = await _find_device(site, memory, run, token, message, now_s)
    product = await _find_product(memory, read, device.product)
    if message.product not in (None, product.id, product.name):
        raise Refusal(
            403,
            "product: device %s belongs to product %s: send the id of that product, or omit `product`"
            % (message.id, product.name),
        )
    if message.failure is not None:
        await _record_crash(site, run, device, message, token, now_s)
    booted_s = shared_ids.booted_s(fields, now_s)
    site.database.write_later(queries.store_check_ins, device.key, _row(device, message, now_s, booted_s))
    try:
        order = parsed(message.version)
    except ValueError:
        # No error status: the device just gets no update. Its developer and the operator can see why.
        return {
            "warning": "version: %s is not a SemVer 2.0 version: the device is offered no update until it sends one, "
            "such as 1.0.0" % message.version,
            **more,
        }
    event, sign = device_cache.interpret_check_in(device, order, booted_s, now_s, message.staged)
    if sign:
        await run(site.database.write, shared_ids.record_sign, device.key, sign, now_s)
    if event == "doubt":
        return more
    if event and device.last:
        device.set_grants(await run(site.database.write, grants.apply_event, device.key, device.last[0], event, now_s))
    if _is_newly_staged(device, message):
        device.set_grants(
            await run(site.database.write, grants.apply_staged, device.key, message.staged, message.attempt, now_s)
        )
    asker = RequestingDevice(device.id, order, fields, device.pin, known_since_s=device.since_s)
    return {**await _answer(site, memory, run, device, message, asker, now_s, base_url), **more}


async def _answer(
    site: "Site", memory: WorkerCache, run: Run, device: CachedDevice, message: messages.CheckIn,
    asker: RequestingDevice, now_s: int, base_url: Callable[[], str],
) -> Row:  # fmt: skip
    """Select the release and its file that the device is offered from now on; return the response."""
    if "error" in asker.properties:
        await _give_up_packed(site, run, device, asker.properties["error"], now_s)
    release = await _offer(site, memory, run, device, asker, message.version, now_s)
    await _withdraw(site, run, device, message, release, now_s)
    if release is None:
        return {}
    packed = await _packed_file(site, run, device, release, asker, message.next_s, now_s)
    return await _response(site, run, device, message, release, packed, base_url())


async def _response(
    site: "Site", run: Run, device: CachedDevice, message: messages.CheckIn, release: Release,
    packed: PackedFile | None, base_url: str,
) -> Row:  # fmt: skip
    """The offer of the release. Only this project's agent is told what the release is about."""
    name, checksum = release.id, release.checksum
    if packed:
        name, checksum = "%s/%s" % (release.id, packed.checksum), packed.checksum
    url = await _file_url(site, run, base_url, name, checksum)
    retry, told = device.grants[release.id].retry, message.next_s is not None
    return selection.check_in_response(release, url, retry, told, packed and packed.size)


async def _give_up_packed(site: "Site", run: Run, device: CachedDevice, error: Any, now_s: int) -> None:
    """Offer the whole image from now on if the device could not use the packed file of its open offer."""
    release = device.unapplied_release()
    grant = device.grants[release] if release else None
    if grant and grant.file is not None and update_states.is_packed_error(error):
        device.set_grants(await run(site.database.write, grants.offer_whole, device.key, release, error, now_s))


async def _packed_file(
    site: "Site", run: Run, device: CachedDevice, release: Release, asker: RequestingDevice, next_s: int | None,
    now_s: int,
) -> PackedFile | None:  # fmt: skip
    """The packed file of the device's open offer; None: it is offered the release's own file.

    An open offer keeps its file, because a download of another file starts again. If the device can no longer use it,
    it is offered the whole image from now on; also if it has not got through, whatever the reason.
    """
    grant = device.grants[release.id]
    if grant.file is None:
        return None
    file = packed_files.still_accepted(grant.file, release.packed, release.image_bytes, asker.properties)
    is_stuck = update_states.is_packed_stuck(grant.state, now_s - grant.offered_s, next_s)
    if file is not None and not grant.whole and not is_stuck:
        return release.packed[file]
    values = device.key, release.id, "not staged in time" if is_stuck else None, now_s
    device.set_grants(await run(site.database.write, grants.offer_whole, *values))
    return None


async def _record_crash(
    site: "Site", run: Run, device: CachedDevice, message: messages.CheckIn, token: str, now_s: int
) -> None:
    """Store the failure in the check-in: after the answer, the device does not send it again."""
    details = failure_details.read(message.failure, token)
    await run(site.database.write, failures.record_crash, device.key, device.product, message.version, details, now_s)


def _row(device: CachedDevice, message: messages.CheckIn, now_s: int, booted_s: int | None) -> Row:
    """The row of a check-in, for queries.store_check_ins()."""
    return {
        "device": device.key,
        "version": message.version,
        "properties": messages.to_json(message.properties),
        "at_s": now_s,
        "next_s": message.next_s,
        "booted_s": booted_s,
    }


def _is_newly_staged(device: CachedDevice, message: messages.CheckIn) -> bool:
    """Does the check-in report a staged update that is not stored as staged yet?"""
    grant = device.grants.get(message.staged) if message.staged else None
    if grant is None:
        return False
    return update_states.apply_report(grant.state, grant.attempt, "staged", message.attempt) is not None


async def _withdraw(
    site: "Site", run: Run, device: CachedDevice, message: messages.CheckIn, offered: Release | None, now_s: int
) -> None:
    """Withdraw earlier releases that are neither `offered` to the device nor staged on it: it can't apply them.

    A staged release is not withdrawn here: the answer to this check-in makes the device drop it and report that. Other
    clients do not send what they have staged, so nothing is withdrawn for them.
    """
    if message.next_s is None:
        return
    for release in device.superseded_releases() + ([device.unapplied_release()] if offered is None else []):
        if release not in (None, message.staged):
            device.set_grants(
                await run(site.database.write, grants.apply_event, device.key, release, "withdrawn", now_s)
            )


async def _find_device(
    site: "Site", memory: WorkerCache, run: Run, token: str, message: messages.CheckIn, now_s: int
) -> tuple[CachedDevice, Row]:
    """(the device that owns the token, further fields of the answer: a new token if one is due)."""
    hash = tokens.hash_token(token)
    found, more = memory.devices.get(hash), {}
    if found is None:
        found = await site.database.read_batched(device_cache.load_devices, hash)
        if found is None:
            if await run(site.database.read, tokens.is_replaced, hash):
                await run(site.database.write, tokens.record_late_use, hash, now_s)
            raise await _unknown_token(memory, partial(run, site.database.read), message)
        if found.is_cacheable:
            memory.devices.put(hash, found)
    if found.id != message.id:
        raise authentication_failed()
    if found.removed or not found.claimed:
        raise cannot_find_device()
    if not found.is_cacheable:
        drawn = tokens.new_token(site.random_bytes)
        if await run(site.database.write, _use_token, token, drawn, message.id, now_s):
            more = {"token": drawn}
    return found, more


def _use_token(conn: sa.Connection, token: str, drawn: str, id: str, now_s: int) -> bool:
    """Authenticate the token and apply all effects of its use. Return whether `drawn` was issued to replace it."""
    return tokens.rotate_if_due(conn, tokens.authenticate(conn, token, id, now_s), drawn, now_s)


async def _unknown_token(memory: WorkerCache, read: Run, message: messages.CheckIn) -> Refusal:
    """The refusal for an unknown token."""
    if message.product is not None and not memory.has_product(message.product):
        memory.invalidate()
        await memory.refresh(read)
        if not memory.has_product(message.product):
            # The database may be the wrong one, or empty by mistake. That must not make devices delete their
            # registrations.
            return Refusal(
                403,
                "product: this cloud has no product %s: is it the right cloud? `ioto product list` lists its products"
                % message.product,
            )
    return authentication_failed()


async def _find_product(memory: WorkerCache, read: Run, id: str) -> Product:
    """The cached product with this id. It is in the database, because a device belongs to it."""
    if id not in memory.products:  # created since the last refresh
        memory.invalidate()
        await memory.refresh(read)
    return memory.products[id]


async def _offer(
    site: "Site", memory: WorkerCache, run: Run, device: CachedDevice, asker: RequestingDevice, version: str, now_s: int
) -> Release | None:
    """The release that the device is offered from now on, or None.

    The database is authoritative. If it contradicts the cache, the cache is corrected and the decision is repeated: a
    release without free slots is marked full, a release that is no longer offered is removed, grants are updated.
    """
    for _ in range(len(memory.products[device.product].releases) + 3):
        product = memory.products[device.product]  # a refresh replaces it
        asker.grants, asker.verdicts = device.grants, product.verdicts(asker.properties)
        release = selection.select_release(product.releases, asker, now_s, memory.slot_check(now_s))
        if release is None:
            return None
        seq = memory.seq
        try:
            device.set_grants(await _grant(site, memory, run, device, asker, release, version, now_s))
        except leases.NoFreeSlot as e:
            if e.ahead:
                await run(site.database.write, leases.reset_future_grants, release.id, site.now_s())
            else:
                memory.mark_full(release.id, e.why, now_s, e.until_s, seq)
        except leases.OutdatedCache:
            memory.invalidate()
            await memory.refresh(partial(run, site.database.read))
        else:
            if (grant := device.grants.get(release.id)) and grant.state in OPEN:
                return release
    raise Unavailable("device %s: its releases change faster than they can be offered" % device.id)


async def _grant(
    site: "Site", memory: WorkerCache, run: Run, device: CachedDevice, asker: RequestingDevice, release: Release,
    version: str, now_s: int,
) -> dict[str, Grant]:  # fmt: skip
    """Offer the release to the device; return the device's grants afterwards, {release: Grant}."""
    grant = device.grants.get(release.id)
    if grant is not None and grant.state in OPEN:
        return await run(site.database.read, _grants_if_unchanged, memory.seq, device.key)
    file = None
    if grant is None or not grant.whole:
        file = packed_files.smallest(release.packed, release.size, release.image_bytes, asker.properties)
    asked = offers.Asked(
        device.key, release.id, file, version, device.grants, memory.worker, memory.seq, now_s, site.now_rounded_up_s
    )
    return await site.database.write_batched(offers.offer, asked)


def _grants_if_unchanged(conn: sa.Connection, seq: int, device: str) -> dict[str, Grant]:
    """The device's grants. Raises leases.OutdatedCache if a release has changed since change `seq`."""
    if change_log.of_releases(conn, seq):
        raise leases.OutdatedCache(seq)
    return grants.of_device(conn, device)


async def _file_url(site: "Site", run: Run, base_url: str, name: str, checksum: str) -> str:
    """The URL of a file: the store's own link if it has one, else a link to this cloud. `name`: as in links.py."""
    if not site.links.is_ready(checksum):
        return await run(_new_file_url, site, base_url, name, checksum)
    return site.links.url(base_url, name, checksum)


def _new_file_url(site: "Site", base_url: str, name: str, checksum: str) -> str:
    site.links.refresh(links.READ_S)
    return site.links.url(base_url, name, checksum)
