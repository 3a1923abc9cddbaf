"""The one-machine default: PostgreSQL and a Kafka broker as ordinary child processes of the stack.

Nothing in here is used in production, where both are given by their addresses; nothing in here is a second code path either:
a service is told where they are and cannot see the difference.
"""
