"""The engine: what an event does to a state and a context, and nothing else."""
