"""Deliveries by HTTP, through the one client for HTTP going out."""

from chassis import egress
from services.notifications.domain.delivery import Outcome

TIMEOUT = egress.TIMEOUT


class EgressClient(egress.EgressClient):
    """A way to one endpoint, kept open between deliveries."""

    def post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """One attempt.

        It arrived if the answer is 2xx; what is answered beside the status is thrown away.
        """
        answer = self.ask("POST", url, headers, body)
        return Outcome(answer.error, answer.code, answer.duration_ms)
