"""Makes the packed files of releases: which files (plan), the files (making), the process that makes them (service)."""
