"""The parts that every service needs to answer a call: server, database, tokens, errors, log.

A module belongs here if two services use it today, if its name states the one thing it does, and if
it uses no word of the business. The chassis imports no other package of the project but `keys`.
Each third-party library may be imported only by the few modules that the import law in
pyproject.toml lists: for the database and gRPC they are here, for Kafka in `facts`, and for
cryptography in `keys`.
"""
