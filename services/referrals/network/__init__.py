"""Settings of the network, and what is known of its members.

The package has code lists, deadline policies, calendars, members, and the rules for publishing
counts.
"""
