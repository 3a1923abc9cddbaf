"""Work with a person's file.

This covers opening the file, consents, emergency access, the person's own requests by reference,
erasure, and the trail of accesses.
"""
