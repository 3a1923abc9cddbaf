"""A partner's system is told: signed, once in effect, again after a failure, never by a detour into our own network."""


from tests.notifications.conftest import PUBLIC_URL, RECEIVER, SENDER, House


def test_a_fact_arrives_signed_with_ids_and_codes_only(house: House) -> None:
    system = house.receiver()
    secret = house.webhook(RECEIVER, system.url).secret
    fact = house.hear("sent", sender_worker_id="f" * 32)
    assert house.send_webhooks() == 1
    body = system.got[0].verified(secret)
    assert body["type"] == "enlace.referral.sent.v1"
    assert body["data"] == {
        "referral_id": fact.subject,
        "version": 1,
        "state": "sent",
        "urgency": "normal",
        "need_code": "HOU.EMG",
        "sender_organization_id": SENDER,
        "receiver_organization_id": RECEIVER,
        "url": f"{PUBLIC_URL}/api/v1/referrals/{fact.subject}",
    }
