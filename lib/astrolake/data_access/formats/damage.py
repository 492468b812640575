"""Damaged files: what decoders raise on them, as one error that names the file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from xml.parsers.expat import ExpatError

import pyarrow as pa
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from astrolake.data_access.formats.base import InputFile
from astrolake.errors import BadArguments, BadInput

_DECODING_ERRORS = (
    EOFError,
    ValueError,
    MemoryError,  # of sizes that the file states
    VerifyError,
    AstropyWarning,  # which astropy raises, too
    zlib.error,
    LZMAError,
    ExpatError,
    pa.ArrowException,
)


@contextmanager
def naming(file: InputFile) -> Iterator[None]:
    """Turn what the decoders raise on damaged files into BadInput that names the file.

    Errors of the system (no such file, no permission, no connection) pass: they say
    nothing about the file's content and may be gone at the next try.
    """
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{file.uri}: {error.message}", error.kind) from error
    except BadArguments as error:
        raise BadArguments(f"{file.uri}: {error}") from error
    except (OSError, *_DECODING_ERRORS) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInput(
            f"{file.uri}: cannot be read as {file.format}: {error}; the file is damaged or of another format",
            "UnreadableFile",
        ) from error
