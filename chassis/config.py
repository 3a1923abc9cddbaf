"""Reads settings from the environment.

Most settings have a default that suits the local stack. A secret may come from a file (NAME_FILE).
All invalid settings are reported together.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from environs import Env, EnvValidationError

# Calls per second that one caller may make, on average. A page makes up to ten calls, and a
# ministry's system makes ten per second while it synchronises. A higher rate would let one caller
# occupy a process.
CALLER_RATE = 50
_LAST_PORT = 65_535
_KAFKA_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_KAFKA_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


class WrongSettings(SystemExit):
    """Ends the process because of invalid settings; the message lists all of them."""


@contextmanager
def listening(name: str) -> Iterator[None]:
    """Raises WrongSettings with the name of a setting if the block can't listen on its address: the
    address is in use, or does not belong to this machine.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: raised by gRPC
        raise WrongSettings(f"wrong settings: {name}: {error}") from error


class Settings:
    """Reads settings one by one, and reports the invalid ones together at the end."""

    def __init__(self) -> None:
        # eager=False makes environs collect errors until seal().
        self.env = Env(eager=False)
        self._problems: list[str] = []

    def text(self, name: str, default: str | None = None, *, optional_file: bool = False) -> str:
        """Returns the value of a setting, or the contents of the file that NAME_FILE names.

        With `optional_file` the file may be missing, like the file of an optional Secret in a
        cluster; the value of the setting itself is then used.
        """
        file = self.env.str(f"{name}_FILE", None)
        if file and not (optional_file and not Path(file).exists()):
            try:
                return Path(file).read_text().strip()
            except (OSError, UnicodeDecodeError):
                self.refuse(f"{name}_FILE names a file that can't be read")
                return ""
        return self.env.str(name) if default is None else self.env.str(name, default)

    def path(self, name: str, default: str) -> Path:
        """Returns a setting that is the path of a folder or a file."""
        return Path(self.env.str(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """Returns a setting that is true or false."""
        return bool(self.env.bool(name, default))

    def number(self, name: str, default: int, *, least: int = 0) -> int:
        """Returns a setting that is a whole number, at least `least`."""
        number = self.env.int(name, default)  # None if the setting is not a number
        if number is not None and number < least:
            self.refuse(f"{name} is less than {least}")
        return int(number or 0)

    def listen(self, name: str, default: str) -> str:
        """Returns a setting that is an address to listen on, HOST:PORT; it may be empty if its
        default is.
        """
        address = self.text(name, default)
        host, _, port = address.rpartition(":")
        if (address or default) and not (host and port.isdecimal() and int(port) <= _LAST_PORT):
            self.refuse(f"{name} is not HOST:PORT")
        return address

    def url(self, name: str, default: str) -> str:
        """Returns a setting that is the URL of a page, with scheme and host; it may be empty if its
        default is.
        """
        url = self.text(name, default)
        if (url or default) and not re.fullmatch(r"(?i:https?)://[^\s/]\S*", url):
            self.refuse(f"{name} is not a URL")
        return url

    def choice(self, name: str, default: str, allowed: Collection[str]) -> str:
        """Returns a setting that is one of the allowed words, or its default."""
        word = self.text(name, default)
        if word not in {*allowed, default}:
            self.refuse(f"{name} is not one of {', '.join(allowed)}")
        return word

    def pairs(self, name: str) -> dict[str, str]:
        """Returns the values of NAME=VALUE,NAME=VALUE by name; {} if the setting is missing."""
        try:
            return dict(self.env.dict(name, {}, subcast_values=str) or {})
        except ValueError:
            self.refuse(f"{name} is not NAME=VALUE,NAME=VALUE")
            return {}

    def refuse(self, problem: str) -> None:
        """Records a problem, which `done` reports together with all others."""
        self._problems.append(problem)

    def done(self) -> None:
        """Raises WrongSettings if any setting is invalid."""
        problems = list(self._problems)
        try:
            self.env.seal()
        except EnvValidationError as error:
            problems.append(str(error))
        if problems:
            raise WrongSettings(f"wrong settings: {', '.join(problems)}")


@dataclass(frozen=True)
class KeyServiceSettings:
    """Locates the sealing keys in a key service: the PKCS#11 library, the label of the token, and
    the file with its PIN.
    """

    module: str
    token: str
    pin_file: Path


@dataclass(frozen=True)
class ServiceSettings:
    """The settings that every gRPC service has."""

    database_url: str
    migration_url: str
    kafka_bootstrap_servers: str
    kafka_security_protocol: str
    kafka_sasl_mechanism: str
    kafka_sasl_username: str
    kafka_sasl_password: str
    kafka_replication_factor: int
    listen: str
    metrics_listen: str
    keys: Path
    reflection: bool
    development: bool
    rpc_threads: int
    caller_rate: int = CALLER_RATE
    key_service: KeyServiceSettings | None = None
    kafka_prefix: str = ""
    """Prefix of the names of all topics and groups, so that several stacks can share a broker."""


def service_settings(settings: Settings) -> ServiceSettings:
    """Reads the settings that every service has."""
    return ServiceSettings(
        database_url=settings.text("ENLACE_DATABASE_URL", ""),
        migration_url=settings.text("ENLACE_MIGRATION_URL", ""),
        kafka_bootstrap_servers=settings.text("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        kafka_security_protocol=settings.choice(
            "KAFKA_SECURITY_PROTOCOL", "PLAINTEXT", _KAFKA_PROTOCOLS
        ),
        kafka_sasl_mechanism=settings.choice("KAFKA_SASL_MECHANISM", "", _KAFKA_MECHANISMS),
        kafka_sasl_username=settings.text("KAFKA_SASL_USERNAME", ""),
        kafka_sasl_password=settings.text("KAFKA_SASL_PASSWORD", ""),
        kafka_replication_factor=settings.number("KAFKA_REPLICATION_FACTOR", 1, least=1),
        kafka_prefix=settings.text("ENLACE_KAFKA_PREFIX", ""),
        listen=settings.listen("ENLACE_LISTEN", "127.0.0.1:9090"),
        metrics_listen=settings.listen("ENLACE_METRICS_LISTEN", ""),
        keys=settings.path("ENLACE_KEYS", "var/keys"),
        reflection=settings.flag("ENLACE_REFLECTION", True),
        development=settings.flag("ENLACE_DEVELOPMENT"),
        rpc_threads=settings.number("ENLACE_RPC_THREADS", 8, least=1),
        caller_rate=settings.number("ENLACE_CALLER_RATE", CALLER_RATE, least=1),
        key_service=_key_service(settings),
    )


def _key_service(settings: Settings) -> KeyServiceSettings | None:
    """Returns the settings of the key service; None if none of the three is set. If only some of
    the three are set, the others are required: otherwise the service would start without its keys.
    """
    names = ["ENLACE_PKCS11_MODULE", "ENLACE_PKCS11_TOKEN", "ENLACE_PKCS11_PIN_FILE"]
    if not any(settings.env.str(name, "") for name in names):
        return None
    module, token, pin_file = (settings.env.str(name) or "" for name in names)
    return KeyServiceSettings(module, token, Path(pin_file))
