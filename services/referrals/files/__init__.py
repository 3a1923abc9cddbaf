"""Files of persons: identity, consents, unsafe organisations, and the quota of accesses."""
