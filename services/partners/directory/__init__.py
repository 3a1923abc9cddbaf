"""What members offer: services, places and hours, their room, search, matching, imports and open
data.
"""
