"""Accounts of workers."""

from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients
from services.gateway.site.language import words
from services.gateway.site.parts import forms


def suspend(worker_id: str) -> None:
    """Suspends a worker's account. The form is shown again if it gives no reason."""
    request = forms.filled(m.SuspendWorkerRequest(id=worker_id))
    forms.refuse({} if request.reason else {"reason": words.violation("required", "reason")})
    clients().members.SuspendWorker(request)
