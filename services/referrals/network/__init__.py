"""Settings of the network, and known facts about its members.

The package has code lists, deadline policies, calendars, members, and the rules for publishing
counts.
"""
