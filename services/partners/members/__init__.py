"""Members: organisations, their workers and passwords, invitations, API keys, and standing."""
