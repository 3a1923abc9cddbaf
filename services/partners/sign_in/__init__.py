"""Sign-in: sessions and tokens, second factors, passkeys, providers, and password links."""
