"""What one may ask of referrals, people, consents and the line: one method, one transaction, which
the caller of the method has opened.
"""
