"""For tests, yours and ours: hypothesis strategies for traces, instants and snapshots."""
