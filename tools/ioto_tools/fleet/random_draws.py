"""Pseudorandom draws that depend only on a seed and a purpose, not on the order of the devices. Pure."""

_MASK = (1 << 64) - 1


def draw(seed: int, *what: int) -> float:
    """A number in [0, 1) for the integers `what`. Mixed as in SplitMix64 (Steele, Lea, Flood 2014)."""
    x = seed & _MASK
    for each in what:
        x = (x + 0x9E3779B97F4A7C15 + each * 0xD1342543DE82EF95) & _MASK
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) & _MASK
        x ^= x >> 31
    return (x >> 11) / (1 << 53)
