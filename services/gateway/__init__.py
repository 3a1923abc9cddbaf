"""The gateway: the only HTTP.

`site` has pages for people, `api` REST for systems, and both stand on `edge`. The gateway stores no
data and knows no rule of the business: it calls the three gRPC services in the caller's name and
shows their answers. It owns what concerns the browser: cookies, forms, security headers, words and
dates in the reader's language.
"""
