"""The base of every request: HTTP server, limits, cookies, the way to the services, refusals.

Its application answers the probes alone; `api` and `site` add their routes to it.
"""
