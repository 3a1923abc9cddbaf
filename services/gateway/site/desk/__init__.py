"""Pages of the members: operators, workers and managers at their desks."""
