"""The demo network: synthetic members, people and referrals for an empty stack.

With it, anybody can explore the stack and sign in to it at once. The data is written through the
services' own domain and stores, so that it obeys the services' rules; no other package may import
several services. Limitation: the demo is only for an empty stack on one machine. It is never part
of a cluster, and holds no real person's data.
"""
