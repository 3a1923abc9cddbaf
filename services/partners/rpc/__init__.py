"""The gRPC servicers of the directory and its members: between messages and use cases. Who may call what the .proto files say."""

from datetime import datetime

from chassis.clock import Clock
from chassis.db import Database, Transaction
from chassis.guesses import Guesses
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Servicer
from chassis.tokens import Caller, Issuer, Verifier
from chassis.wire import PageTokens
from keys.sealing import Keyring
from protos.partners.v1 import accounts_pb2, directory_pb2, locations_pb2, members_pb2, open_data_pb2
from services.partners import usecases
from services.partners.rpc import accounts, directory, imports, lasting, locations, members, open_data, tokens
from services.partners.sign_in.passkeys import Site
from services.partners.usecases import password_resets
from services.partners.usecases.membership import OF_A_MAILBOX, OF_AN_ADDRESS
from services.partners.usecases.second_factors import OF_A_CODE


def servicers(
    database: Database,
    issuer: Issuer,
    verifier: Verifier,
    keyring: Keyring,
    mail: Keyring,
    clock: Clock,
    index: usecases.DirectoryIndex,
    site: Site,
    providers: usecases.SignInProviders,
    *,
    paper_url: str = "",
    strict: bool = False,
) -> list[Servicer]:
    """The services of protos/partners/v1. `mail` seals what the notifications service is to bring to one mailbox; `site` is whom passkeys are for;
    `paper_url`: what links begin with in a network that sends no e-mail, and hands them over on paper; `strict`: some roles must prove more than a password."""
    idempotency, pages = IdempotencyStore(keyring), PageTokens(keyring)
    guesses = Guesses(database, keyring, "password", usecases.OF_AN_ACCOUNT, usecases.OF_AN_ADDRESS)
    applied = Guesses(database, keyring, "application", OF_A_MAILBOX, OF_AN_ADDRESS)
    resets = Guesses(database, keyring, "reset", password_resets.OF_A_MAILBOX, password_resets.OF_AN_ADDRESS)
    codes = Guesses(database, keyring, "code", OF_A_CODE, OF_A_CODE)

    def check_standing(tx: Transaction, caller: Caller) -> None:
        now: datetime = clock.now()
        usecases.check_standing(tx, caller, now)

    return [
        Servicer(
            descriptor,
            implementation,
            database=database,
            verifier=verifier,
            idempotency=idempotency,
            clock=clock,
            check_standing=check_standing,
            notify=lasting.notifier(mail),
        )
        for descriptor, implementation in (
            (directory_pb2.DESCRIPTOR.services_by_name["Directory"], directory.Directory(keyring, mail, pages, index, applied)),
            (locations_pb2.DESCRIPTOR.services_by_name["Locations"], locations.Locations(keyring, pages)),
            (open_data_pb2.DESCRIPTOR.services_by_name["OpenData"], open_data.OpenData(pages)),
            (open_data_pb2.DESCRIPTOR.services_by_name["Imports"], imports.Imports(keyring)),
            (members_pb2.DESCRIPTOR.services_by_name["Members"], members.Members(mail, pages, providers, paper_url)),
            (
                accounts_pb2.DESCRIPTOR.services_by_name["Accounts"],
                accounts.Accounts(keyring, mail, site, guesses, codes, resets, providers),
            ),
            (
                members_pb2.DESCRIPTOR.services_by_name["Tokens"],
                tokens.Tokens(issuer, keyring, site, guesses, codes, providers, strict=strict),
            ),
        )
    ]
