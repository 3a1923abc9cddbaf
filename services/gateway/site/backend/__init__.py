"""Questions to the services, and acts, that more than one page needs, each written once.

Pages choose what they show of an answer.
"""
