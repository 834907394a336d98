"""Settings for all tests."""

import gc


def pytest_collection_finish():
    """Exclude existing objects from garbage collection: they stay until the end, and this saves a tenth of the time."""
    gc.collect()
    gc.freeze()
