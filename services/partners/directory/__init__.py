"""The directory: services, places and hours, room, search, matching, imports and open data."""
