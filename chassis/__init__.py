"""The parts that every service needs to answer a call: server, database, tokens, errors, log.

A module belongs here if two services use it today, if its name states the one thing it does, and if
it uses no word of the business. The chassis imports no other package of the project but `keys`.
Each third-party library is used behind one module: those for the database and gRPC are here, the
one for Kafka is in `facts`, and the one for cryptography in `keys` (the import law in
pyproject.toml lists them).
"""
