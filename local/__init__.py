"""The one-machine stack: PostgreSQL, a Kafka broker and the services as child processes of `python
-m services`.

Nothing in here is used in production, where the database and the broker are given by their
addresses. Nothing in here is a second code path either: a service gets two addresses and cannot see
the difference.
"""
