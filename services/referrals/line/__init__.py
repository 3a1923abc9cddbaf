"""The help line: contacts, callbacks, cards of advice, campaigns, and taking over a shift."""
