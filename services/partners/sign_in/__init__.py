"""How callers prove who they are: sessions and their tokens, second factors, passkeys, providers
and links for another password.
"""
