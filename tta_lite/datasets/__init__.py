"""Where examples come from: readers, the synthetic pose set, and their checks."""
