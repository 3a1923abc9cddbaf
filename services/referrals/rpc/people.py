"""People, consents, and the opening of an identity."""

from chassis.audit import Entry
from chassis.errors import Invalid
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, Position, moment, optional_id, page_size, timestamp, version, word, word_list
from protos.referrals.v1 import people_pb2 as pb
from services.referrals import wire
from services.referrals.domain.person import FieldGroup
from services.referrals.usecases.names import Names
from services.referrals.usecases.people import People


class PeopleServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(self, usecases: People, names: Names, pages: PageTokens) -> None:
        self._usecases = usecases
        self._names = names
        self._pages = pages

    def CreatePerson(self, request: pb.CreatePersonRequest, call: Call) -> pb.Person:
        """See the .proto, as for every method here."""
        plan = wire.safe_contact(request.safe_contact) if request.HasField("safe_contact") else None
        person = self._usecases.create(
            call.tx,
            call.caller,
            call.clock.now(),
            wire.identity(request.identity),
            wire.coarse(request.coarse),
            status_code=word(pb.TraffickingStatus, request.trafficking_status_code, "trafficking_status_code"),
            exploitation_country=request.exploitation_country,
            plan=plan,
        )
        return wire.person_message(person, plan)

    def GetPerson(self, request: pb.GetPersonRequest, call: Call) -> pb.Person:
        person, plan = self._usecases.get(
            call.tx, call.caller, call.clock.now(), object_id(request.id), call.trail, outline_only=request.outline_only
        )
        return wire.person_message(person, plan)

    def ListPeople(self, request: pb.ListPeopleRequest, call: Call) -> pb.ListPeopleResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        people, more = self._usecases.page(call.tx, call.caller, size, after)
        return pb.ListPeopleResponse(
            people=[wire.person_message(person) for person in people], next_page_token=self._pages.token(request, more)
        )

    def SearchPeople(self, request: pb.SearchPeopleRequest, call: Call) -> pb.SearchPeopleResponse:
        people, more = self._names.find(call.tx, call.caller, request.name, call.trail)
        return pb.SearchPeopleResponse(people=[wire.person_message(person) for person in people], incomplete=more)

    def UpdateIdentity(self, request: pb.UpdateIdentityRequest, call: Call) -> pb.Person:
        newer = wire.identity(request.identity)
        return wire.person_message(
            self._usecases.update_identity(call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag), newer)
        )

    def OpenPerson(self, request: pb.OpenPersonRequest, call: Call) -> pb.Identity:
        groups = frozenset(wire.GROUPS.members(request.field_groups, "field_groups"))
        identity, opened = self._usecases.open(
            call.tx,
            call.caller,
            call.clock.now(),
            object_id(request.id),
            request.purpose_code,
            groups,
            optional_id(request.referral_id, "referral_id"),
            call.trail,
        )
        return wire.identity_message(identity, opened)

    def SetSafeContact(self, request: pb.SetSafeContactRequest, call: Call) -> pb.Person:
        plan = wire.safe_contact(request.safe_contact)
        person = self._usecases.set_safe_contact(call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag), plan)
        return wire.person_message(person, plan)

    def GetSafeContact(self, request: pb.GetSafeContactRequest, call: Call) -> pb.SafeContact:
        plan = self._usecases.safe_contact(call.tx, call.caller, call.clock.now(), object_id(request.referral_id))
        return wire.safe_contact_message(plan)

    def OpenSafeContact(self, request: pb.OpenSafeContactRequest, call: Call) -> pb.SafeContact:
        plan = self._usecases.open_safe_contact(call.tx, call.caller, call.clock.now(), object_id(request.referral_id), call.trail)
        return wire.safe_contact_message(plan)

    def CreateReceipt(self, request: pb.CreateReceiptRequest, call: Call) -> pb.Receipt:
        message, now = request.receipt, call.clock.now()
        receipt = self._usecases.create_receipt(
            call.tx,
            call.caller,
            now,
            moment(message, "until_time", "receipt.until_time"),
            person_id=object_id(message.person_id),
            recipient_organization_id=optional_id(message.recipient_organization_id, "receipt.recipient_organization_id"),
            field_groups=frozenset(wire.GROUPS.members(message.field_groups, "receipt.field_groups")),
            purpose_codes=tuple(message.purpose_codes),
            giver_code=word(pb.Giver, message.giver_code, "receipt.giver_code"),
            manner_code=word(pb.Manner, message.manner_code, "receipt.manner_code"),
            assent_code=word(pb.Assent, message.assent_code, "receipt.assent_code"),
            in_private=message.in_private,
            interpreter=message.interpreter,
            explained_codes=word_list(pb.Explained, message.explained_codes, "receipt.explained_codes"),
            adult_ground_code=word(pb.AdultGround, message.adult_ground_code, "receipt.adult_ground_code"),
            giver_ground_code=word(pb.GiverGround, message.giver_ground_code, "receipt.giver_ground_code"),
        )
        return wire.receipt_message(receipt, now)

    def ConfirmReceipt(self, request: pb.ConfirmReceiptRequest, call: Call) -> pb.Receipt:
        now = call.clock.now()
        return wire.receipt_message(self._usecases.confirm_receipt(call.tx, call.caller, now, object_id(request.id), call.trail), now)

    def ListReceipts(self, request: pb.ListReceiptsRequest, call: Call) -> pb.ListReceiptsResponse:
        referral_id = optional_id(request.referral_id, "referral_id")
        now = call.clock.now()
        receipts = self._usecases.receipts(call.tx, now, object_id(request.person_id), referral_id)
        return pb.ListReceiptsResponse(receipts=[wire.receipt_message(receipt, now) for receipt in receipts])

    def ListProposedReceipts(self, request: pb.ListProposedReceiptsRequest, call: Call) -> pb.ListReceiptsResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        now = call.clock.now()
        receipts, more = self._usecases.proposed_receipts(call.tx, call.caller, now, size, after)
        return pb.ListReceiptsResponse(
            receipts=[wire.receipt_message(receipt, now) for receipt in receipts], next_page_token=self._pages.token(request, more)
        )

    def GetReceipt(self, request: pb.GetReceiptRequest, call: Call) -> pb.Receipt:
        return wire.receipt_message(self._usecases.receipt(call.tx, object_id(request.id)), call.clock.now())

    def WithdrawReceipt(self, request: pb.WithdrawReceiptRequest, call: Call) -> pb.Receipt:
        now = call.clock.now()
        return wire.receipt_message(self._usecases.withdraw_receipt(call.tx, call.caller, now, object_id(request.id), call.trail), now)

    def ListReadings(self, request: pb.ListReadingsRequest, call: Call) -> pb.ListReadingsResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, int)
        before = int(after[0]) if after else None
        rows = self._usecases.readings(call.tx, call.caller, object_id(request.person_id), size + 1, before)
        page = rows[:size]
        readings = [
            pb.Reading(
                time=timestamp(row["time"]),
                organization_id=row["organization_id"],
                actor_id=row["actor_id"],
                purpose_code=row["purpose_code"],
                field_groups=sorted(wire.GROUPS.number(FieldGroup(code)) for code in row["detail_codes"] if code in _GROUPS),
                allowed=row["allowed"],
            )
            for row in page
        ]
        more: Position | None = [page[-1]["sequence"]] if len(rows) > size else None
        return pb.ListReadingsResponse(readings=readings, next_page_token=self._pages.token(request, more))

    def ExportPerson(self, request: pb.ExportPersonRequest, call: Call) -> pb.ExportPersonResponse:
        self._usecases.export(call.tx, call.caller, call.clock.now(), object_id(request.id))
        return pb.ExportPersonResponse()

    def ListOwnExports(self, request: pb.ListOwnExportsRequest, call: Call) -> pb.ListOwnExportsResponse:
        since = moment(request, "since_time")
        if since is None:
            raise Invalid(("since_time", "required"))
        size, after = page_size(request.page_size, default=200, most=200), self._pages.position(request, int)
        rows = self._usecases.own_exports(call.tx, call.caller, since, size + 1, int(after[0]) if after else None)
        call.trail.append(Entry("list_own_exports", call.caller.id))
        exports = [pb.Export(person_id=row["object_id"], time=timestamp(row["time"])) for row in rows[:size]]
        more: Position | None = [rows[size - 1]["sequence"]] if len(rows) > size else None
        return pb.ListOwnExportsResponse(exports=exports, next_page_token=self._pages.token(request, more))


_GROUPS = frozenset(group.value for group in FieldGroup)
