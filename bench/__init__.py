"""Measures of the embedded house, each beside its limit: `make bench`, or `python -m bench transition` for one part. Never part of the tests."""
