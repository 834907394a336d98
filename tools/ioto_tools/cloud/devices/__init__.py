"""Device requests: registration, check-in, reports and images; device tokens; the workers' device caches."""
