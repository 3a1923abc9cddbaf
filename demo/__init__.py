"""The demo network: synthetic members, people and referrals, so that an empty stack can be looked
at and joined at once.

Written into the services through their own domain and stores, so that everything in it obeys the
rules; this is the only package that may import several services. Its limit: an empty stack on one
machine. It is never part of a cluster, and nothing here is anybody's data.
"""
