"""Benchmarks of the local stack, each figure with its limit if the design sets one.

`make bench` runs all parts, `python -m bench transition` runs one part. The benchmarks are not part
of the tests.
"""
