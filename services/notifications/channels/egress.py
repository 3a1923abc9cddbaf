"""Delivers by HTTP, with the client for all outgoing HTTP requests (chassis.egress)."""

from chassis import egress
from services.notifications.domain.delivery import BUSY, GONE, Outcome

TIMEOUT = egress.TIMEOUT


class EgressClient(egress.EgressClient):
    """A client for one endpoint, kept open between deliveries."""

    def post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """Makes one attempt and returns its result.

        The message has arrived if the response's status is 2xx; the response's body is ignored.
        """
        answer = self.send("POST", url, headers, body)
        return Outcome(
            answer.error,
            answer.code,
            answer.duration_ms,
            hopeless=answer.code == GONE,
            retry_after=answer.retry_after if answer.code in BUSY else 0.0,
        )
