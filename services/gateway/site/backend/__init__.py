"""Calls to the services that several pages need, each written once.

Pages choose what they show of an answer.
"""
