"""The use cases: each is one function in one transaction.

A use case answers an rpc or applies a fact: it fetches data, applies the domain's rules, and saves
the result.
"""
