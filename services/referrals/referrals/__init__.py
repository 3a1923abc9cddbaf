"""Referrals and enquiries: the life of each, its deadlines, the boxes in which they are listed,
and figures of them.
"""
