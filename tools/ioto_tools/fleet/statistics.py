"""Statistics of a fleet: answers and their times by kind of request, reports by state, and faults."""

import json
from typing import Any

from .http import Reply
from .latency import Latency

KINDS = ("register", "check_in", "download", "report")


class Statistics:
    def __init__(self) -> None:
        self.answers: dict[str, dict[int | str, int]] = {kind: {} for kind in KINDS}  # kind -> {status or error: count}
        self.refusals: dict[tuple[str, int], str] = {}  # (kind, status) -> the text of the first such answer
        self.latency = {kind: Latency() for kind in KINDS}
        self.reports: dict[str, int] = {}  # state -> number of reports that the cloud accepted
        self.bytes = 0  # received bytes of images
        self.files: dict[str, list[int]] = {}  # kind of file -> [number of downloads, bytes], if images are known
        self.faults: dict[str, int] = {}  # kind of fault, such as a wrong checksum -> count

    def add_answer(self, kind: str, reply: Reply, seconds: float) -> None:
        said = reply.status or reply.error
        self.answers[kind][said] = self.answers[kind].get(said, 0) + 1
        self.latency[kind].add(seconds)
        if reply.status >= 400 and (kind, reply.status) not in self.refusals:
            self.refusals[kind, reply.status] = _text(reply.body)

    def add_report(self, state: str) -> None:
        self.reports[state] = self.reports.get(state, 0) + 1

    def add_file(self, kind: str, size: int) -> None:
        found = self.files.setdefault(kind, [0, 0])
        found[0] += 1
        found[1] += size

    def add_fault(self, what: str) -> None:
        self.faults[what] = self.faults.get(what, 0) + 1

    def rows(self) -> list[dict[str, Any]]:
        """[{kind, answers, good, p50_ms, p99_ms, others}] for each kind of request with an answer."""
        return [self._row(kind) for kind in KINDS if self.answers[kind]]

    def _row(self, kind: str) -> dict[str, Any]:
        said, latency = self.answers[kind], self.latency[kind]
        good = sum(count for status, count in said.items() if status in (200, 206))
        others = {str(status): count for status, count in said.items() if status not in (200, 206)}
        p50, p99 = (round(latency.quantile(q) * 1000, 1) for q in (0.5, 0.99))
        return {
            "kind": kind,
            "answers": sum(said.values()),
            "good": good,
            "p50_ms": p50,
            "p99_ms": p99,
            "others": others,
        }


def _text(body: bytes) -> str:
    """The text of an error response: its `error`, else the body."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
