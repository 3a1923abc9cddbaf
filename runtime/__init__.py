"""The process of a service: makes its parts, runs them until a signal, and adds the commands for
operators.

Stands on the chassis, `facts`, `trail` and `keys`, and ties them together.
"""
