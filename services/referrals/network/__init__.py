"""What the network has set, and what is heard of its members: code lists, deadline policies,
calendars, members, and how counts are published.
"""
