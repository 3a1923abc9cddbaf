"""A test is a sentence; a journey is a story with actors. Each folder is named after the part whose promises it checks."""
