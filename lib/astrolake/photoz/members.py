"""Models of one method, which combinations are made of: their files, bands and columns."""

from __future__ import annotations

from astrolake.errors import BadInput
from astrolake.photoz import artifact
from astrolake.photoz.model import PhotozModel
from astrolake.photoz.photometry import BandColumns
from astrolake.photoz.template_fit import TemplateFit

Member = PhotozModel | TemplateFit


def member_of(content: bytes, name: str) -> Member:
    """Return the model of a file's content, learned or a template fit; nothing in it is executed.

    Raises
    ------
    BadInput
        When it is neither, damaged, or of a newer version.
    """
    # Their import makes the learners known by name.
    from astrolake.photoz import forest, network  # noqa: F401

    kind = artifact.from_bytes(content, name)[0]
    if kind == "learned":
        return PhotozModel.from_bytes(content, name)
    if kind == "template_fit":
        return TemplateFit.from_bytes(content, name)
    raise BadInput(f"{name} holds a {kind!r}, which estimates no redshifts by itself")


def member_bands(model: Member) -> tuple[BandColumns, ...]:
    """Return the bands that a model reads."""
    return model.columns if isinstance(model, TemplateFit) else model.features.bands


def member_columns(model: Member) -> tuple[str, ...]:
    """Return the columns that a catalog must have."""
    if isinstance(model, PhotozModel):
        return model.features.columns
    found = [name for band in model.columns for name in (band.value, band.error) if name is not None]
    return tuple(dict.fromkeys(found))


def reference_band(model: Member) -> BandColumns:
    """Return the band whose magnitude a model's calibration goes by."""
    if isinstance(model, PhotozModel):
        return model.features.bands[model.features.reference]
    return model.columns[model.bands.index(model.prior_band)]
