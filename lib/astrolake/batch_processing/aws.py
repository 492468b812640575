"""AWS clients: one session, retries with back-off, errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from astrolake.errors import AstrolakeError, MissingDependency
from astrolake.redact import redact

if TYPE_CHECKING:
    import boto3

#: Attempts of a call; botocore waits between them with exponential back-off and jitter, longer if throttled.
ATTEMPTS = 10
_CONNECT_S, _READ_S = 10, 60  # seconds


def make_session(region: str = "", profile: str = "") -> boto3.session.Session:
    """Return a boto3 session with the ambient credentials.

    Raises
    ------
    MissingDependency
        When boto3 is not installed.
    AstrolakeError
        When there is no such profile.
    """
    try:
        from boto3.session import Session
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise MissingDependency("AWS needs boto3: pip install 'astrolake[aws]'") from error
    try:
        return Session(region_name=region or None, profile_name=profile or None)
    except BotoCoreError as error:
        raise AstrolakeError(f"cannot start an AWS session: {error}; see `aws configure`") from error


def make_client(service: str, session: boto3.session.Session | None = None, **settings: Any) -> Any:
    """Return a client that tries a call `ATTEMPTS` times.

    Parameters
    ----------
    service : str
        As boto3 names it.
    session : boto3 Session
        Credentials and region; the ambient ones by default.
    settings
        Of botocore's Config, in place of the defaults.
    """
    session = session or make_session()
    from botocore.config import Config

    config = Config(
        **{
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            "connect_timeout": _CONNECT_S,
            "read_timeout": _READ_S,
            "user_agent_extra": "astrolake",
        }
        | settings
    )
    with aws_errors(f"reach AWS {service}"):
        try:
            return session.client(service, config=config)
        except ValueError as error:  # botocore's for an endpoint that is no URL
            raise AstrolakeError(
                redact(f"cannot reach AWS {service}: {error}; correct AWS_ENDPOINT_URL or the profile")
            ) from error


@contextmanager
def aws_errors(action: str, remedy: str = "check region, credentials and permissions") -> Iterator[None]:
    """Turn what AWS refuses, and what keeps it from being reached, into an AstrolakeError.

    Parameters
    ----------
    action : str
        What was tried: "cannot <action>: ...".
    remedy : str
        What to do.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise AstrolakeError(redact(f"cannot {action}: {error}; {remedy}")) from error


def error_code(error: Any) -> str:
    """Return the code of a botocore ClientError, such as NoSuchKey."""
    return str(error.response.get("Error", {}).get("Code", ""))
