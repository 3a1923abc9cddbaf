"""The gRPC servicers: between messages and use cases. Who may call what stands here, in one table; an rpc without a row stops the start."""

from collections.abc import Mapping

from chassis.rpc import Right, anyone, roles

_CASE = ("WORKER", "OPERATOR", "MANAGER")  # those who work with people
_READ = roles(*_CASE, "COORDINATOR", "AUDITOR", scope="referrals.read")
_COUNT = roles(*_CASE, "COORDINATOR", "AUDITOR", scope="referrals.read", recorded=False)
_WRITE = roles(*_CASE, scope="referrals.write")
_DIRECT = roles(*_CASE, "COORDINATOR", scope="referrals.write")  # sender's steps that a coordinator may take too
_LINE = roles("OPERATOR", scope="contacts.write")

RIGHTS: Mapping[str, Mapping[str, Right]] = {
    "enlace.referrals.v1.Referrals": {
        "CreateReferral": _WRITE,
        "UpdateReferral": _WRITE,
        "GetReferral": _READ,
        "ListReferrals": _READ,
        "CountReferrals": _COUNT,
        "GetDeadlinePolicy": _COUNT,
        "ListReferralEvents": _READ,
        "SendReferral": _WRITE,
        "ConfirmOverride": roles("MANAGER", "COORDINATOR"),
        "AttachConsent": _WRITE,
        "AcknowledgeReferral": _WRITE,
        "AskReferral": _WRITE,
        "AnswerReferral": _WRITE,
        "AcceptReferral": _WRITE,
        "WaitlistReferral": _WRITE,
        "DeclineReferral": _WRITE,
        "StartReferral": _WRITE,
        "CompleteReferral": _WRITE,
        "NotDeliverReferral": _WRITE,
        "CloseReferral": _DIRECT,
        "WithdrawReferral": _DIRECT,
        "EnterReferralInError": _DIRECT,
    },
    "enlace.referrals.v1.Statistics": {"GetPilotFigures": _COUNT},
    "enlace.referrals.v1.People": {
        "CreatePerson": roles("WORKER", "OPERATOR", scope="people.write"),
        "GetPerson": roles(*_CASE, scope="people.read"),
        "ListPeople": roles("WORKER", "OPERATOR", scope="people.read"),
        "UpdateIdentity": roles("WORKER", "OPERATOR", scope="people.write"),
        "OpenPerson": roles("WORKER", "OPERATOR", scope="people.open"),
        "SetSafeContact": roles("WORKER", "OPERATOR", scope="people.write"),
        "CreateReceipt": roles("WORKER", "OPERATOR", scope="people.write"),
        "ConfirmReceipt": roles(*_CASE),
        "ListReceipts": roles("WORKER", "OPERATOR", scope="people.read"),
        "GetReceipt": roles("WORKER", "OPERATOR", scope="people.read"),
        "WithdrawReceipt": roles("WORKER", "OPERATOR", scope="people.write"),
        "ListReadings": roles("WORKER", "OPERATOR", "MANAGER", scope="people.read"),
    },
    "enlace.referrals.v1.Contacts": {"CreateContact": _LINE, "GetContact": _LINE, "ListContacts": _LINE, "UpdateContact": _LINE},
    "enlace.referrals.v1.References": {"GetReferenceStatus": anyone(), "WithdrawConsentByReference": anyone(), "ConfirmHelp": anyone()},
}
