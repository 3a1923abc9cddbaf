"""Referrals and enquiries: their lives, their deadlines, the boxes that list them, and figures."""
