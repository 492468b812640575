"""The errors astrolake raises on purpose: each names the thing at fault and the remedy."""


class AstrolakeError(Exception):
    """Base of every error that a user can act on."""


class BadArguments(AstrolakeError):
    """A flag or argument is unknown, missing or out of range (exit code 2)."""


class MissingColumns(AstrolakeError):
    """A table lacks columns; the message lists those it has."""

    def __init__(self, table: str, missing: list[str], present: list[str]) -> None:
        super().__init__(f"{table} lacks the columns {sorted(missing)}; it has {sorted(present)}")


class BadInput(AstrolakeError):
    """A file, column or row cannot be used; `kind` is the reason recorded in `rejects`."""

    def __init__(self, message: str, kind: str = "BadInput") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind

    def __reduce__(self) -> tuple[type["BadInput"], tuple[str, str]]:
        return type(self), (self.message, self.kind)


class ServiceError(AstrolakeError):
    """A service on the web failed; names it, the URL or query and the remedy."""


class NotALake(AstrolakeError):
    """The given location is not a lake, or cannot be read or written."""


class TableNotFound(AstrolakeError):
    """The lake has no such table or version; the message lists those it has."""


class CommitConflict(AstrolakeError):
    """Another writer changed the same partitions; running the job again resolves it."""


class RowsDoNotReconcile(AstrolakeError):
    """rows_in differs from rows_out + rows_rejected: nothing was committed."""


class MissingDependency(AstrolakeError):
    """An optional package or runtime is not installed; the message names the extra."""


class NotPublishable(AstrolakeError):
    """A directory holds files that a HATS reader would take for rows of the table."""
