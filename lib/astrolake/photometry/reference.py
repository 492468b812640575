"""A table of the lake as reference: zero point and astrometric offset of an image against its stars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadArguments
from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Columns
from astrolake.photometry.stellar_locus import UNFIT
from astrolake.photometry.zero_point import Float64, ZeroPoint, fit_zero_point, robust_sigma
from astrolake.schema.arrow import float_column
from astrolake.sky.epoch import julian_year, propagate
from astrolake.sky.matching import match
from astrolake.sky.positions import Matches, Positions
from astrolake.sky.separation import separation_arcsec

if TYPE_CHECKING:
    from astrolake.lake.reader import RegionReader

#: How far an image may be off its reference, and how far a source off its star once that is corrected.
SEARCH_ARCSEC, SAME_ARCSEC = 3.0, 1.0
_BIN_ARCSEC = 0.25
_MIN_STARS = 5
#: Fainter sources add noise and spurious pairs, no precision.
_MIN_SNR = 10.0
#: Stars of which the aperture correction is made: this bright, so many at most, as sharp as this.
_BRIGHT_SNR, _MOST_BRIGHT, _STELLAR_MAG = 100.0, 12, 0.02
MOTION = ("pmra", "pmdec", "ref_epoch")


@dataclass(frozen=True)
class ReferenceStars:
    """Stars of a reference: ICRS at the image's epoch, AB magnitudes, errors and colours (NaN: unknown)."""

    positions: Positions
    mag: Float64
    mag_err: Float64 | None
    colour: Float64 | None


@dataclass(frozen=True)
class ReferenceOptions:
    """What a user says of a reference.

    Parameters
    ----------
    table : str
        Empty for no reference.
    mag, mag_err : str
        Columns, ``{band}`` in them standing for the band of each image; `mag_err` may be empty.
    colour : str
        Two columns, ``A-B``; empty for no colour term.
    ab_offset : float
        Added to the magnitudes.
    correct_astrometry : bool
        Whether positions are shifted by the median offset from the reference.

    Raises
    ------
    BadArguments
        When table and magnitude do not go together, the colour is no difference of columns, or there is
        something to do with a reference, but none.
    """

    table: str = ""
    mag: str = ""
    mag_err: str = ""
    colour: str = ""
    ab_offset: float = 0.0
    correct_astrometry: bool = False

    def __post_init__(self) -> None:
        if bool(self.table) != bool(self.mag):
            raise BadArguments("--calibrate-against TABLE and --reference-mag COLUMN go together")
        if not self.table and (self.mag_err or self.colour or self.ab_offset or self.correct_astrometry):
            raise BadArguments(
                "--reference-mag-err, --reference-colour, --reference-ab-offset and --correct-astrometry"
                " need --calibrate-against TABLE"
            )
        if len(self.colours) not in (0, 2) or not all(self.colours):
            raise BadArguments(f"--reference-colour {self.colour!r}: give two columns as A-B")

    @property
    def colours(self) -> tuple[str, ...]:
        """The two columns of the colour, or none."""
        return tuple(part.strip() for part in self.colour.split("-")) if self.colour else ()

    def columns(self, template: str, bands: Sequence[str]) -> dict[str, str]:
        """Return the columns of bands by their template.

        Raises
        ------
        BadArguments
            When several bands would have one column.
        """
        if len(bands) > 1 and "{band}" not in template:
            raise BadArguments(
                f"{template} is the magnitude of one band, the images are of {sorted(bands)}: "
                "choose with --band, or write {band} for the band in the column's name"
            )
        return {band: template.replace("{band}", band) for band in bands}


@dataclass(frozen=True)
class Reference:
    """How a table of the lake serves as reference.

    Parameters
    ----------
    reader : RegionReader
        Reads all columns named here.
    key : str
        Column.
    mag, mag_err : dict
        Columns of the magnitude, and of its error, of each band; no errors when the table has none.
    colour : tuple of str
        Two columns whose difference is the colour; empty for no colour term.
    ab_offset : float
        Added to the magnitudes, to bring them to the AB scale.
    has_motion : bool
        Whether pmra, pmdec and ref_epoch are read, too.
    """

    reader: RegionReader
    key: str
    mag: Mapping[str, str]
    mag_err: Mapping[str, str] = field(default_factory=dict)
    colour: tuple[str, ...] = ()
    ab_offset: float = 0.0
    has_motion: bool = False

    def stars(self, image: Mapping[str, Any]) -> ReferenceStars:
        """Return the stars around an image (a row of `images` with a WCS)."""
        from astrolake.sky.region import Cone

        band = image["band"]
        corners = np.asarray(image["corners_ra"]), np.asarray(image["corners_dec"])
        reach = separation_arcsec(image["ra"], image["dec"], *corners).max() * 1.01 + 60.0
        rows = self.reader.read(Cone(image["ra"], image["dec"], float(reach) / 3600.0).ranges())
        ra, dec = float_column(rows, "ra"), float_column(rows, "dec")
        if self.has_motion and image["mjd"] is not None:
            pmra, pmdec, epoch = (float_column(rows, name) for name in MOTION)
            ra, dec = propagate(ra, dec, pmra, pmdec, epoch, julian_year(image["mjd"]))
        return ReferenceStars(
            Positions(ra, dec, rows.column(self.key).to_numpy()),
            float_column(rows, self.mag[band]) + self.ab_offset,
            float_column(rows, self.mag_err[band]) if self.mag_err else None,
            float_column(rows, self.colour[0]) - float_column(rows, self.colour[1]) if self.colour else None,
        )


@dataclass(frozen=True)
class AstrometricOffset:
    """Median offset of an image's positions from the reference, image minus reference.

    Parameters
    ----------
    ra_arcsec, dec_arcsec : float
        `ra_arcsec` with the factor cos(dec); NaN with fewer than five stars.
    rms_arcsec : float
        Robust scatter about the offset, both axes together.
    n_stars : int
    """

    ra_arcsec: float
    dec_arcsec: float
    rms_arcsec: float
    n_stars: int

    @property
    def is_known(self) -> bool:
        """Whether there were stars enough."""
        return math.isfinite(self.ra_arcsec)

    def corrected(self, ra_deg: Float64, dec_deg: Float64) -> tuple[Float64, Float64]:
        """Return positions with the offset taken away; unchanged when it is unknown."""
        if not self.is_known:
            return ra_deg, dec_deg
        cosine = np.maximum(np.cos(np.radians(dec_deg)), 1e-9)
        ra = np.mod(ra_deg - self.ra_arcsec / 3600.0 / cosine, 360.0)
        dec = np.clip(dec_deg - self.dec_arcsec / 3600.0, -90.0, 90.0)
        return np.where(ra >= 360.0, 0.0, ra), dec


def astrometric_offset(ra_deg: Float64, dec_deg: Float64, reference: Positions) -> AstrometricOffset:
    """Return the offset of positions from a reference, up to 3 arcsec.

    The offsets of all pairs within 3 arcsec pile up at the true one (a square of 0.75 arcsec that holds most
    pairs); from there the median of the pairs within 1 arcsec is iterated.

    Parameters
    ----------
    ra_deg, dec_deg : (N,) float64
        ICRS, finite.
    reference : Positions
    """
    ours = Positions(ra_deg, dec_deg, np.arange(len(ra_deg)))
    pairs = match(ours, reference, SEARCH_ARCSEC, "all")
    if len(pairs) < _MIN_STARS:
        return AstrometricOffset(*(math.nan,) * 3, len(pairs))
    east, north = _offsets(ours, reference, pairs)
    at = _densest(east, north)
    close = np.zeros(len(pairs), dtype=bool)
    for _ in range(10):
        now = np.hypot(east - at[0], north - at[1]) <= SAME_ARCSEC
        if now.sum() < _MIN_STARS:
            return AstrometricOffset(*(math.nan,) * 3, int(now.sum()))
        at = (float(np.median(east[now])), float(np.median(north[now])))
        if (now == close).all():
            break
        close = now
    rms = math.hypot(robust_sigma(east[close]), robust_sigma(north[close]))
    return AstrometricOffset(*at, rms, int(close.sum()))


def _offsets(ours: Positions, theirs: Positions, pairs: Matches) -> tuple[Float64, Float64]:
    left, right = pairs.left_index, pairs.right_index
    turn = np.mod(ours.ra[left] - theirs.ra[right] + 180.0, 360.0) - 180.0
    east = turn * np.cos(np.radians(theirs.dec[right])) * 3600.0
    return east, (ours.dec[left] - theirs.dec[right]) * 3600.0


def _densest(east: Float64, north: Float64) -> tuple[float, float]:
    """Return the centre of the 3 x 3 bins that hold most pairs; of equals, that nearest to no offset."""
    edges = np.arange(-SEARCH_ARCSEC - _BIN_ARCSEC / 2, SEARCH_ARCSEC + _BIN_ARCSEC, _BIN_ARCSEC)
    count = np.histogram2d(east, north, bins=(edges, edges))[0]
    padded = np.pad(count, 1)
    n = count.shape[0]
    summed = sum(padded[i : i + n, j : j + n] for i in range(3) for j in range(3))
    centre = 0.5 * (edges[1:] + edges[:-1])
    distance = np.hypot(*np.meshgrid(centre, centre, indexing="ij"))
    best = np.lexsort((distance.ravel(), -np.asarray(summed).ravel()))[0]
    i, j = np.unravel_index(best, count.shape)
    return float(centre[i]), float(centre[j])


@dataclass(frozen=True)
class ReferenceCheck:
    """What the reference says of an image."""

    offset: AstrometricOffset
    zero_point: ZeroPoint


def check_against(
    stars: ReferenceStars,
    ra_deg: Float64,
    dec_deg: Float64,
    flux: Float64,
    flux_err: Float64,
    flags: NDArray[np.int32],
) -> ReferenceCheck:
    """Compare the sources of an image with a reference.

    Parameters
    ----------
    stars : ReferenceStars
    ra_deg, dec_deg : (N,) float64
        Positions by the image's WCS; NaN for none.
    flux, flux_err : (N,) float64
        Total fluxes, units of the image.
    flags : (N,) int32
        Sources that are blended, cut, saturated or otherwise spoilt tell nothing.
    """
    good = np.isfinite(ra_deg) & np.isfinite(dec_deg) & (flux > 0) & (flux_err > 0)
    good &= _unspoilt(flags)
    good &= flux > _MIN_SNR * np.where(flux_err > 0, flux_err, np.inf)
    rows = np.flatnonzero(good)
    offset = astrometric_offset(ra_deg[rows], dec_deg[rows], stars.positions)
    ra, dec = offset.corrected(ra_deg[rows], dec_deg[rows])
    pairs = match(Positions(ra, dec, rows), stars.positions, SAME_ARCSEC, "best-symmetric")
    ours, theirs = rows[pairs.left_index], pairs.right_index
    error = 2.5 / math.log(10) * flux_err[ours] / flux[ours]
    fit = fit_zero_point(
        -2.5 * np.log10(flux[ours]),
        error,
        stars.mag[theirs],
        None if stars.mag_err is None else stars.mag_err[theirs],
        None if stars.colour is None else stars.colour[theirs],
        min_stars=_MIN_STARS,
    )
    return ReferenceCheck(offset, fit)


@dataclass(frozen=True)
class TotalFlux:
    """Fluxes of stars as if an aperture held all their light.

    Parameters
    ----------
    flux, flux_err : (N,) float64
    correction_err : float
        Error of the aperture correction that they share, mag.
    """

    flux: Float64
    flux_err: Float64
    correction_err: float


def total_flux(columns: Columns, psf_scale_err: float = math.nan) -> TotalFlux:
    """Return the fluxes that a zero point is fitted to.

    PSF fluxes where they were measured and stars tied them to apertures, with that tie's relative error
    `psf_scale_err` (`PsfInfo.zero_point_error`). Else those of the first aperture, which neighbours and sky
    spoil least, times the ratio of the widest to it, the median over the brightest stars. With fewer than
    five of those, the fluxes of the widest aperture.
    """
    if math.isfinite(psf_scale_err):
        flux = np.where(_untied(columns["flags"]), np.nan, columns["flux_psf"])
        return TotalFlux(flux, columns["flux_psf_err"], 2.5 / math.log(10) * psf_scale_err)
    flux, error = columns["flux_aper"], columns["flux_aper_err"]
    rows = _bright_stars(columns)
    if len(rows) < _MIN_STARS:
        return TotalFlux(flux[:, -1], error[:, -1], 0.0)
    correction = 2.5 * np.log10(flux[rows, -1] / flux[rows, 0])
    scale = 10 ** (0.4 * float(np.median(correction)))
    # The variance of a median is pi / 2 times that of a mean.
    spread = math.sqrt(math.pi / 2 / len(rows)) * robust_sigma(correction)
    return TotalFlux(flux[:, 0] * scale, error[:, 0] * scale, spread)


def _bright_stars(columns: Columns) -> NDArray[np.intp]:
    """Return the rows of the brightest unspoilt sources that look like stars."""
    flux, error = columns["flux_aper"][:, -1], columns["flux_aper_err"][:, -1]
    good = (_unspoilt(columns["flags"])) & (columns["flux_aper"][:, 0] > 0) & (flux > _BRIGHT_SNR * error)
    good &= ~(np.abs(columns["extension"]) > 3 * np.maximum(columns["extension_err"], _STELLAR_MAG))
    rows = np.flatnonzero(good)
    return rows[np.argsort(-flux[rows], kind="stable")][:_MOST_BRIGHT]


def _unspoilt(flags: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.asarray((flags & (UNFIT & ~int(Flag.ISOPHOTAL_CENTROID))) == 0)


def _untied(flags: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which sources have a PSF flux that is not on the scale of the others."""
    spoilt = Flag.PSF_FALLBACK | Flag.PSF_NOT_FITTED | Flag.PSF_INCOMPLETE
    return np.asarray((flags & int(spoilt)) != 0)
