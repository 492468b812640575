"""Where a lake lies: local directories and S3 prefixes through one small interface.

Local locations may be given as plain paths or ``file://`` URIs; both are taken
literally (a space is a space, never ``%20``). ``s3a://`` and ``s3n://`` mean ``s3://``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import fsspec

from astrolake.errors import BadArguments, MissingDependency

_LOCAL = "file://"


@dataclass(frozen=True)
class Storage:
    """A root location and how to reach it; cheap to send to executors.

    Parameters
    ----------
    root : str
        Canonical URI without trailing slash: ``file:///...`` or ``s3://bucket/prefix``.
    options : dict
        Object-store options in the spelling of delta-rs (``AWS_ENDPOINT_URL``,
        ``AWS_REGION``, ...); empty means the ambient credentials.
    """

    root: str
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, uri: str, options: dict[str, str] | None = None) -> Storage:
        """Return the storage at a path or URI.

        Raises
        ------
        BadArguments
            When the URI is empty or its scheme is neither file nor s3.
        """
        return cls(canonical_uri(uri), dict(options or {}))

    @property
    def is_local(self) -> bool:
        """Whether the root is a local directory."""
        return self.root.startswith(_LOCAL)

    @cached_property
    def fs(self) -> Any:
        """The fsspec file system of the root."""
        return filesystem(self.root, self.options)

    def path(self, *parts: str) -> str:
        """Return the path of something below the root, as `fs` takes it."""
        base = self.root.removeprefix(_LOCAL) if self.is_local else self.root.removeprefix("s3://")
        return "/".join((base.rstrip("/"), *parts))

    def uri(self, *parts: str) -> str:
        """Return the URI of something below the root."""
        return "/".join((self.root.rstrip("/"), *parts))

    def delta_uri(self, *parts: str) -> str:
        """Return the location as delta-rs takes it: a plain path when local (its URIs are percent-coded)."""
        return self.path(*parts) if self.is_local else self.uri(*parts)

    def spark_uri(self, *parts: str) -> str:
        """Return the location as Spark takes it: S3 through the S3A file system."""
        return self.uri(*parts) if self.is_local else "s3a://" + self.path(*parts)

    def __getstate__(self) -> dict[str, Any]:
        # The file system object holds sockets and threads: every process makes its own.
        return {"root": self.root, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def canonical_uri(uri: str) -> str:
    """Return the absolute ``file://`` or ``s3://`` URI of a path or URI, without trailing slash."""
    if not uri:
        raise BadArguments("the location is empty; give a directory or an s3:// prefix")
    scheme, separator, rest = uri.partition(":/")
    if not separator or not scheme.isalnum():
        return _LOCAL + os.path.abspath(os.path.expanduser(uri))
    # Hadoop writes file:/path with one slash.
    if scheme == "file":
        return _LOCAL + os.path.abspath("/" + rest.lstrip("/"))
    if scheme in ("s3", "s3a", "s3n") and rest.startswith("/") and rest.strip("/"):
        return "s3://" + rest.strip("/")
    raise BadArguments(
        f"cannot use the location {uri!r}; give a directory, file:///... or s3://bucket/prefix"
    )


def filesystem(uri: str, options: dict[str, str] | None = None) -> Any:
    """Return the fsspec file system for a URI.

    Raises
    ------
    MissingDependency
        For s3 when s3fs is not installed.
    """
    if uri.startswith(_LOCAL) or "://" not in uri:
        return fsspec.filesystem("file")
    try:
        # Other engines write to the same prefixes: a listing kept from before would hide their files.
        return fsspec.filesystem("s3", use_listings_cache=False, **fsspec_options(options or {}))
    except ImportError as error:
        raise MissingDependency(f"{uri} needs s3fs: pip install 'astrolake[aws]'") from error


def refusals() -> tuple[type[Exception], ...]:
    """Return the errors that say that a store does not let us in."""
    try:
        from botocore.exceptions import NoCredentialsError, PartialCredentialsError
    except ImportError:
        return (PermissionError,)
    return (PermissionError, NoCredentialsError, PartialCredentialsError)


def fsspec_options(options: dict[str, str]) -> dict[str, Any]:
    """Return s3fs keyword arguments for object-store options in delta-rs spelling."""
    names = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": "endpoint_url",
    }
    found: dict[str, Any] = {names[key]: value for key, value in options.items() if key in names}
    if options.get("AWS_SKIP_SIGNATURE", "").lower() == "true":
        found["anon"] = True
    if region := options.get("AWS_REGION"):
        found["client_kwargs"] = {"region_name": region}
    return found


def modified_s(info: dict[str, Any]) -> float:
    """Return when a listed file was last written, in seconds since 1970."""
    stamp: Any = info.get("mtime", info.get("LastModified"))
    return float(stamp.timestamp() if hasattr(stamp, "timestamp") else stamp)
