"""What is done with her file: opening it, consent, emergency access, her own word by reference,
erasure, and the trail of accesses.
"""
