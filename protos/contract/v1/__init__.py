"""Version 1 of the contracts; field numbers are reserved, never reused."""
