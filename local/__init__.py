"""The one-machine stack: PostgreSQL, a Kafka broker and the services as child processes of `python
-m services`.

Production does not use this package: there the settings name the addresses of the database and the
broker. A service gets these two addresses in both cases, and can't see the difference.
"""
