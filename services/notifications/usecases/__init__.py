"""What one may ask, and what is done about a fact: one function, one transaction; fetch, ask the
domain, keep.
"""
