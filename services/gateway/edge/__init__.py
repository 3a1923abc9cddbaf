"""What every request needs: HTTP server, limits, credentials, clients of the services, refusals.

Its application answers only the probes; `api` and `site` add their routes to it.
"""
