"""Benchmarks of the local stack, each figure with its limit.

`make bench` runs all, `python -m bench transition` one part. They are no part of the tests.
"""
