"""The gateway: the only part of Enlace that people and systems reach over HTTP.

`site` has pages for people, `api` has REST for systems, and both build on `edge`. The gateway
stores no data and knows no business rule: it calls the three gRPC services in the caller's
name and shows their answers. It owns what concerns the browser: cookies, forms, security headers,
and words and dates in the reader's language.
"""
