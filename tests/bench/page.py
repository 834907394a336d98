"""The slowest of the operators' pages with many devices, without a network."""

import time

import population
from ioto_tools.cloud.app import create_app
from web_session import Session

ROUNDS = 3
NO_MATCH = "policy=device.version+%3D%3D+'none'"  # evaluated for every device, matches none


class _Cloud:
    def __init__(self, folder):
        self.app = create_app(folder, threads=False)
        self.site = self.app.state.site


def slowest(folder, size, product):
    """(milliseconds, page) of the slowest page of the site in `folder`, which has `size` devices of population.py."""
    cloud = _Cloud(folder)
    session = Session(cloud, "bench%d" % size)
    middle, pages = population.id_of(size // 2), ["", "product?id=" + product, "audit"]
    for devices in ("devices?", "devices?product=%s&" % product):
        pages += [
            devices + rest
            for rest in ("", "after=" + middle, "id=" + middle[:-2], NO_MATCH, NO_MATCH + "&after=" + middle)
        ]
    found = max((_best_ms(session, page), page) for page in pages + ["device?id=" + middle])
    cloud.site.close()
    return found


def _best_ms(session, page):
    best = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        reply = session.get(page)
        best.append(time.perf_counter() - begun)
        assert reply.status == 200, (page, reply.body)
    return 1000 * min(best)
