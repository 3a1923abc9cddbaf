"""What every service stands on, and nothing that any one of them is about.

A module is let in when two services use it today, when its name is the one thing it does, and when
no word of the business is in it. It never imports `services`, `protos` or `local`. Each outside
library has one door: the database, the broker and gRPC have theirs here, cryptography has its own
in `keys` (the import law in pyproject.toml says which).
"""
