"""What every service stands on, and nothing that any one of them is about.

A module is let in when two services use it today, when its name is the one thing it does, and when no word of the business is in it.
It never imports `services` or `protos`. Each outside library has its one door here: whoever needs the database, the broker, gRPC or
cryptography goes through that door (the import law in pyproject.toml says which).
"""
