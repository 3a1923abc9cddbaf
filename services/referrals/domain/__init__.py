"""What persons, consents, contacts and referrals are, and what may happen to them.

Standard library and chassis.errors only.
"""
