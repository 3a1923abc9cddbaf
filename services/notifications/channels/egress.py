"""Deliveries by HTTP, through the client for all outgoing HTTP."""

from chassis import egress
from services.notifications.domain.delivery import Outcome

TIMEOUT = egress.TIMEOUT


class EgressClient(egress.EgressClient):
    """A client for one endpoint, kept open between deliveries."""

    def post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """Makes one attempt and returns its result.

        The attempt arrived if the answer is 2xx; the answer is thrown away, but for its status.
        """
        answer = self.ask("POST", url, headers, body)
        return Outcome(answer.error, answer.code, answer.duration_ms)
