"""Settings for all tests."""

import gc


def pytest_collection_finish():
    """Exclude the objects so far from garbage collection, since they stay until the end: saves a tenth of the time."""
    gc.collect()
    gc.freeze()
