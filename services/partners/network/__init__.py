"""The common parts of entries: checks, versions and facts, tiers of visibility, field histories."""
