"""Pages of the members, for operators, workers and managers."""
