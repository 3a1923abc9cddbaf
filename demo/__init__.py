"""The demo network: synthetic members, people and referrals for an empty stack.

With it, anybody can look at the stack, and join it, at once. The data are written through the
services' own domain and stores, so that all of them obey the rules; only this package may import
several services. Limit: an empty stack on one machine. The demo is never part of a cluster, and
holds nobody's data.
"""
