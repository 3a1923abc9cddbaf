"""People's files: identity, consents, emergency accesses, unsafe places, and the access quota."""
