"""Pure decisions: the states of an update on a device, the selection of a release, and the terms of a rollout."""
