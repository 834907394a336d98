"""A simulated fleet: many devices in one process, with a running cloud or with a cloud in simulated time."""
