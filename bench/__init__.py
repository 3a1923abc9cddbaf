"""Measures of the embedded stack, each beside its limit: `make bench`, or `python -m bench
transition` for one part. Never part of the tests.
"""
