"""The stop rule of a release: it is paused once enough devices have finished and too many of them failed. Pure."""

from collections.abc import Mapping

from . import update_states


def applies(ended: Mapping[str, int], least: int, percent: float | None) -> bool:
    """Does the stop rule pause the release? `ended`: {state: number of devices whose last attempt ended in it}.

    Yes if at least `least` devices ended in a state of update_states.OUTCOMES, and at least `percent` % of them in a
    state of update_states.FAILURES. `percent` None: no rule.
    """
    bad = sum(ended.get(state, 0) for state in update_states.FAILURES)
    of = sum(ended.get(state, 0) for state in update_states.OUTCOMES)
    return percent is not None and bad > 0 and of >= least and bad * 100 >= percent * of
