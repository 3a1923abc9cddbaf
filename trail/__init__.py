"""The proof that an audit trail is complete: verification of its hash chain, and the exchange of
its heads between services.

`chassis.audit` writes and reads the rows. This package builds on the chassis and on `facts`.
"""
