"""The base of every request, whoever asks: the HTTP server, limits, cookies, the way to the
services, refusals as problem+json, probes.

Its application answers the probes alone; `api` and `site` add their routes to it.
"""
