"""The common parts of entries: checks, version and facts, tiers of visibility, field history."""
