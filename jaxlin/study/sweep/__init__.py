"""A sweep: many points, one queue, a run directory each, one line of results each."""
