"""The process of a service: makes its parts, runs them until a signal, and adds the commands for
operators.

The package builds on the chassis, `facts`, `trail` and `keys`, and combines them.
"""
