"""Calls of the services, and acts, that several pages need, each written once.

Pages choose what they show of an answer.
"""
