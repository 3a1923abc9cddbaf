"""The browser that the tests drive."""

PROGRAM = "/usr/bin/chromium-headless-shell"
"""The system's headless Chromium; a page takes two thirds of the time it takes with a window."""
