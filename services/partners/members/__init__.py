"""Organisations and what makes them members, their workers with their passwords, invitations, API
keys, and who may act.
"""
