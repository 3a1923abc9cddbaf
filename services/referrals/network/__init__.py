"""Network settings, and known facts about members.

The package has code lists, deadline policies, calendars, members, and the rules for publishing
counts.
"""
