"""The demo's passwords, keys, references and PINs, derived from a key of this stack.

They differ from stack to stack, but not from run to run. Limitation: they are fit for a demo only.
Real secrets are random, and only their hashes are stored.
"""

import random

from chassis.errors import Unauthenticated
from keys.sealing import Keyring
from services.referrals.line.domain.contact import read_reference
from services.referrals.network.domain.codes import ALPHABET

# Short words without accents, easy to type on any keyboard.
_WORDS = (
    "abeja agua aldea almendro alba ancla arena arroyo aurora ave azul bahia balsa barro bosque"
    " brisa cacao camino campana canela canoa canto "
    "caoba carta casa cedro ceiba cielo cima clavel colina coral cosecha costa cueva delta dulce"
    " eco estrella faro flor fogata fruta fuente "
    "garza girasol grano guitarra hamaca helecho hilo hoja horno huerta isla jardin jicara lago"
    " laguna lana laurel lazo leche leon limon llave "
    "lluvia loma lucero luna maiz mango manta mar marea mesa miel molino monte musica nido niebla"
    " nube nuez ola olivo orilla oro paloma pan "
    "papaya parque pera piedra pino playa pluma polen pozo prado puente puerto rama rayo red remo"
    " ribera rio roble roca rosa ruta sal sauce seda "
    "selva semilla sendero sierra silla sol sombra surco tambor tarde tejido tierra tinaja torre"
    " trigo trino valle vela vereda viento volcan"
).split()


class DemoSecrets:
    """Derives each secret from the name of its owner."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def password(self, email: str) -> str:
        """Returns four words and a number."""
        chance = self._chance("password", email)
        return "-".join([*chance.sample(_WORDS, 4), str(chance.randint(10, 99))])

    def api_secret(self, organization: str) -> str:
        """Returns 64 hexadecimal digits."""
        return self._keyring.fingerprint(organization.encode(), "demo/api_key").hex()

    def reference(self, contact_id: str) -> str:
        """Returns the reference of a caller; its last character is a check character."""
        chance = self._chance("reference", contact_id)
        body = "".join(chance.choice(ALPHABET) for _ in range(7))
        return next(body + last for last in ALPHABET if _is_readable(body + last))

    def pin(self, contact_id: str) -> str:
        """Returns four digits."""
        return f"{self._chance('pin', contact_id).randrange(10_000):04d}"

    def _chance(self, kind: str, name: str) -> random.Random:
        return random.Random(self._keyring.fingerprint(name.encode(), f"demo/{kind}"))


def _is_readable(reference: str) -> bool:
    try:
        return read_reference(reference) == reference
    except Unauthenticated:
        return False
