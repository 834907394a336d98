"""What a board gets: the agent compiled, and how it gets there."""
