"""The options with which the contracts of the services are annotated."""
