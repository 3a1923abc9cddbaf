"""Work with a person's file.

This covers opening the file, consents, emergency access, the requests that the person makes with
her reference, erasure, and the trail of accesses.
"""
