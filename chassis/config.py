"""Settings from the environment: each has a default that runs embedded, a secret may come as a file
(NAME_FILE), all wrong ones are said at once.
"""

from dataclasses import dataclass
from pathlib import Path

from environs import Env, EnvValidationError

# Calls a second of one caller in the long run. A page takes up to ten, a ministry's system that
# keeps in step ten a second; above it one caller alone would keep a process busy.
CALLER_RATE = 50


class WrongSettings(SystemExit):
    """The process can't start with these settings; the message lists every wrong one."""


class Settings:
    """Reads settings one by one and reports the wrong ones together at the end."""

    def __init__(self) -> None:
        # eager=False: environs then collects every error until seal().
        self.env = Env(eager=False)
        self._wrong: list[str] = []

    def text(self, name: str, default: str | None = None, *, optional_file: bool = False) -> str:
        """A text; NAME_FILE names a file that holds it instead.

        With `optional_file` the file may be missing: a cluster mounts an optional Secret so.
        """
        file = self.env.str(f"{name}_FILE", None)
        if file and not (optional_file and not Path(file).exists()):
            try:
                return Path(file).read_text().strip()
            except (OSError, UnicodeDecodeError):
                self._wrong.append(f"{name}_FILE names a file that can't be read")
                return ""
        return self.env.str(name) if default is None else self.env.str(name, default)

    def path(self, name: str, default: str) -> Path:
        """A folder or file."""
        return Path(self.env.str(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """Yes or no."""
        return bool(self.env.bool(name, default))

    def number(self, name: str, default: int) -> int:
        """A whole number."""
        return int(self.env.int(name, default) or 0)

    def pairs(self, name: str) -> dict[str, str]:
        """Names and values, written NAME=VALUE,NAME=VALUE; {} where it is not set."""
        try:
            return dict(self.env.dict(name, {}, subcast_values=str) or {})
        except ValueError:
            self._wrong.append(f"{name} is not NAME=VALUE,NAME=VALUE")
            return {}

    def refuse(self, why: str) -> None:
        """Adds what is wrong with several, or with the file that one names."""
        self._wrong.append(why)

    def done(self) -> None:
        """Raises WrongSettings when one or more were wrong."""
        wrong = list(self._wrong)
        try:
            self.env.seal()
        except EnvValidationError as error:
            wrong.append(str(error))
        if wrong:
            raise WrongSettings(f"wrong settings: {', '.join(wrong)}")


@dataclass(frozen=True)
class KeyServiceSettings:
    """Where sealing keys are that never leave it: the library by which one speaks PKCS#11 to it,
    the token's label, the file with its PIN.
    """

    module: str
    token: str
    pin_file: Path


@dataclass(frozen=True)
class ServiceSettings:
    """What every gRPC service needs to run."""

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
    """Begins the names of all topics and groups, so that several stacks share a broker."""


def service_settings(settings: Settings) -> ServiceSettings:
    """The common part of a service's config."""
    return ServiceSettings(
        database_url=settings.text("ENLACE_DATABASE_URL", ""),
        migration_url=settings.text("ENLACE_MIGRATION_URL", ""),
        kafka_bootstrap_servers=settings.text("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        kafka_security_protocol=settings.text("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"),
        kafka_sasl_mechanism=settings.text("KAFKA_SASL_MECHANISM", ""),
        kafka_sasl_username=settings.text("KAFKA_SASL_USERNAME", ""),
        kafka_sasl_password=settings.text("KAFKA_SASL_PASSWORD", ""),
        kafka_replication_factor=settings.number("KAFKA_REPLICATION_FACTOR", 1),
        kafka_prefix=settings.text("ENLACE_KAFKA_PREFIX", ""),
        listen=settings.text("ENLACE_LISTEN", "127.0.0.1:9090"),
        metrics_listen=settings.text("ENLACE_METRICS_LISTEN", ""),
        keys=settings.path("ENLACE_KEYS", "var/keys"),
        reflection=settings.flag("ENLACE_REFLECTION", True),
        development=settings.flag("ENLACE_DEVELOPMENT"),
        rpc_threads=settings.number("ENLACE_RPC_THREADS", 16),
        caller_rate=settings.number("ENLACE_CALLER_RATE", CALLER_RATE),
        key_service=_key_service(settings),
    )


def _key_service(settings: Settings) -> KeyServiceSettings | None:
    """All three, or none: with one forgotten it would do without the keys that it has there."""
    names = ["ENLACE_PKCS11_MODULE", "ENLACE_PKCS11_TOKEN", "ENLACE_PKCS11_PIN_FILE"]
    if not any(settings.env.str(name, "") for name in names):
        return None
    module, token, pin_file = (settings.env.str(name) or "" for name in names)
    return KeyServiceSettings(module, token, Path(pin_file))
