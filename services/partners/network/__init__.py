"""What every entry has: checks of its fields, a version and facts, tiers that say who sees it, and
the history of its fields.
"""
