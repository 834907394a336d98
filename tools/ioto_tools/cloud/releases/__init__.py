"""Publishing: the file is inspected, its roll-out forecast, the release entered."""
