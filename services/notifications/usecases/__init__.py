"""The use cases: each is one function in one transaction.

It answers an rpc or applies a fact: it fetches, asks the domain, and saves.
"""
