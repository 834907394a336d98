"""Rates of distribution policies on one core: evaluations of the example, compilations of different texts."""

from time import perf_counter

from ioto_tools.cloud import policy

EXAMPLE = "device.version < update.version && (device.region == 'us-west' || device.pro == true)"
DEVICE = {"id": "K1", "version": "1.9.0", "region": "eu", "pro": True}  # all three terms are evaluated
UPDATE = {"version": "1.10.0"}


def _rate(count, run):
    """The best of five rounds, in calls per second: other load can only make a round slower."""
    best = 0.0
    for _ in range(5):
        begun = perf_counter()
        run(count)
        best = max(best, count / (perf_counter() - begun))
    return best


def _calls(call):
    def run(count):
        for _ in range(count):
            call(DEVICE, UPDATE)

    return run


def _compilations(count):
    for i in range(count):
        policy.compile.__wrapped__(EXAMPLE.replace("us-west", "us-%d" % i))


def rates():
    """(empty calls, evaluations, compilations) per second."""
    return (
        _rate(300000, _calls(lambda device, update: True)),
        _rate(100000, _calls(policy.compile(EXAMPLE))),
        _rate(2000, _compilations),
    )


def main():
    empty, evaluated, compiled = rates()
    print("Policy of three terms: %d evaluations a second (each %.0f empty calls), %d compilations of different "
          "texts a second (each %.0f)" % (
        evaluated, empty / evaluated, compiled, empty / compiled))  # fmt: skip
