"""Where members and their services are kept, together with the facts still to be told.

The only SQL of this service.

Every `keep` writes the state and its facts in the caller's transaction. What is fetched to be
changed is held (FOR UPDATE) until that ends.
"""
