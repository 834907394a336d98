"""Pure decisions: the states of an update on a device, the release that a device is offered, the terms of a rollout."""
