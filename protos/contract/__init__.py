"""Contracts of the contracts: the options that the others are annotated with."""
