"""The parts that every service needs to answer a call: server, database, tokens, errors, log.

A module belongs here if two services use it today, if its name states the one thing it does, and if
it has no word of the business. The chassis imports no other package of the project but `keys`. Each
outside library has one door: the database and gRPC have theirs here, Kafka in `facts`, cryptography
in `keys` (the import law in pyproject.toml lists them).
"""
