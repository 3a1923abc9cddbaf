"""The gateway: the only HTTP. Pages for people, REST for systems, nothing of its own.

It keeps no data and knows no rule of the business: it asks the three gRPC services in the caller's name and shows what they answer.
What it owns is the browser: cookies, forms, security headers, words and dates in the reader's language.
"""
