"""The gateway: the only HTTP. `site` has pages for people, `api` REST for systems, and both stand
on `edge`.

It keeps no data and knows no rule of the business: it asks the three gRPC services in the caller's
name and shows what they answer. What it owns is the browser: cookies, forms, security headers,
words and dates in the reader's language.
"""
