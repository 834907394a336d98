"""The settings of a simulated fleet: size, intervals and failures. Times are in seconds, shares from 0 to 1."""

from dataclasses import dataclass, field
from typing import Any

from . import phases
from .random_draws import draw

# The purposes of random draws: draw() takes one of them after the seed.
_PROPERTIES = 1000  # plus the index of the property
_OUTCOME = 2
_ASKS = 6


@dataclass
class Settings:
    """The settings of a fleet.

    `properties`: {name: [values]}; each device has one of the values. `shares`: {outcome: share of the devices
    with it}, for the outcomes in phases.OUTCOMES.
    """

    product: str
    devices: int = 100
    version: str = "1.0.0"
    prefix: str = "SIM"
    seed: int = 1
    period_s: float = 86400
    jitter_s: float = 0
    download: str = "head"  # none, head (the first KiB), whole (and its SHA-256)
    apply_s: float = 3600  # maximum wait for an apply window; each device draws its wait up to this
    boot_s: float = 30
    retry_s: float = 600  # between two attempts
    put_off_s: float = 3600
    relapse_s: float = 3 * 86400
    repeats: float = 0.0  # share of reports that are sent twice
    strangers: float = 0.0  # share of devices that do not send `next` and do not ask the cloud before they apply
    image: bytes | None = None  # the image that the devices run at first; with it, they accept packed files
    shares: dict[str, float] = field(default_factory=dict)
    properties: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for outcome, share in self.shares.items():
            if outcome not in phases.OUTCOMES or not 0 <= share <= 1:
                raise ValueError(
                    "%s %s: expected: one of %s and a share from 0 to 1" % (outcome, share, ", ".join(phases.OUTCOMES))
                )
        if sum(self.shares.values()) > 1:
            raise ValueError("the shares of %s add up to more than 1" % ", ".join(self.shares))
        if not 0 < self.devices < 1 << 20:
            raise ValueError("%d devices: expected: 1 to %d" % (self.devices, (1 << 20) - 1))

    def id(self, n: int) -> str:
        return "%s%07d" % (self.prefix, n)

    def outcome(self, n: int, update: int) -> str:
        """The outcome of update number `update` on device `n`."""
        left = draw(self.seed, _OUTCOME, n, update)
        for outcome in phases.OUTCOMES:
            left -= self.shares.get(outcome, 0)
            if left < 0:
                return outcome
        return phases.GOOD

    def asks_before_apply(self, n: int) -> bool:
        """True if device `n` asks the cloud before it applies a staged update."""
        return draw(self.seed, _ASKS, n) >= self.strangers

    def properties_of(self, n: int) -> dict[str, Any]:
        """The properties of device `n`."""
        drawn = (
            (name, values, draw(self.seed, _PROPERTIES + at, n))
            for at, (name, values) in enumerate(self.properties.items())
        )
        return {name: values[int(share * len(values))] for name, values, share in drawn}

    def seconds(self, wait: str, n: int, of: int) -> float:
        """The duration in seconds of `wait` (a delay of phases.py) on device `n`."""
        if wait == phases.NOW:
            return 0.0
        if wait == phases.APPLY:
            return self.apply_s * draw(self.seed, n, of)
        return {
            phases.FETCHED: 0.0,
            phases.BOOT: self.boot_s,
            phases.RETRY: self.retry_s,
            phases.PUT_OFF: self.put_off_s,
            phases.RELAPSE: self.relapse_s,
        }[wait]
