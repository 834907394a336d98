"""What devices ask: registration, check-in, reports, images; their tokens; what a worker keeps of them in memory."""
