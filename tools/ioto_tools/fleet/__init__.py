"""A simulated fleet: many devices in one process, against a running cloud or a cloud in simulated time."""
