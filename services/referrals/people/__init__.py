"""Work with a person's file.

This is opening it, consents, emergency access, the person's own requests by reference, erasure, and
the trail of accesses.
"""
