"""A simulated fleet: very many devices in one process, against a running cloud or one that is stepped in simulated time."""
