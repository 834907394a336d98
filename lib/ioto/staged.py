"""The argument of `device:update`: an image that lies verified in the inactive slot, waiting for a decision."""


class Staged:
    """`update`, `version` and `attempt` say what it is; apply() or defer() answer. Made by the agent."""

    def __init__(self, agent, update, attempt):
        self._agent = agent
        self.update = update["update"]
        self.version = update["version"]
        self.attempt = attempt

    def apply(self):
        """Swap the boot partition and reset: on a board this does not return.

        On Linux `scripts/update` runs as a task, which is returned. What goes wrong is reported, not raised.
        """
        return self._agent.apply()

    def defer(self, seconds):
        """Not now: ask again when `seconds` have passed, also over resets."""
        self._agent.defer(seconds)
