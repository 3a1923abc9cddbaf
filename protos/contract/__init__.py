"""The options that annotate the contracts of the services."""
