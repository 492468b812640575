"""What the sample survey observes: fields, bands, epochs, and the astrometry of every exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from astrolake.errors import BadArguments

Float64 = NDArray[np.float64]

SECONDS_PER_DAY = 86400.0
CAMCOL = 3
#: Bands in which sources have a magnitude.
COLOURED_BANDS = ("g", "r", "i")
_FIRST_FIELD = 101
#: Between two bands of a field, and between two fields.
_BAND_STEP_S, _FIELD_STEP_S = 300.0, 1200.0
_DITHER_ARCSEC, _BAND_JITTER_ARCSEC = 2.5, 0.1


@dataclass(frozen=True)
class Band:
    """A filter and its detector: sky in AB mag arcsec^-2, gain in electrons per nanomaggy."""

    name: str
    psf_fwhm_arcsec: float
    sky_mag_arcsec2: float
    gain: float
    read_noise_e: float = 3.0


@dataclass(frozen=True)
class Epoch:
    """One visit of all fields: run number, start (MJD, UTC), rotation, seeing relative to the band's."""

    run: int
    mjd: float
    rotation_deg: float
    seeing: float


@dataclass(frozen=True)
class Layout:
    """The plan of the sample survey; the defaults are those of `make demo`.

    Fields lie north of each other and share `overlap_px` rows. Densities are per square degree,
    stars with r in [14, 23] and galaxies with r in [16, 23].
    """

    ra: float = 214.9
    dec: float = 52.8
    naxis1: int = 2048
    naxis2: int = 1489
    n_fields: int = 2
    overlap_px: int = 128
    pixel_scale_arcsec: float = 0.396
    psf_beta: float = 3.0
    exptime_s: float = 53.9
    stars_per_deg2: float = 10000.0
    galaxies_per_deg2: float = 25000.0
    bands: tuple[Band, ...] = (
        Band("g", 1.38, 21.8, 420.0),
        Band("r", 1.25, 20.9, 500.0),
        Band("i", 1.17, 20.2, 480.0),
    )
    epochs: tuple[Epoch, ...] = (Epoch(1001, 58000.25, 0.21, 1.0), Epoch(1002, 59460.31, -0.34, 1.06))

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_px < self.naxis2:
            raise BadArguments(f"overlap_px={self.overlap_px} must lie in [0, naxis2={self.naxis2})")
        unknown = [band.name for band in self.bands if band.name not in COLOURED_BANDS]
        if unknown:
            raise BadArguments(f"bands {unknown} have no colours: choose from {list(COLOURED_BANDS)}")
        if self.n_fields * len(self.bands) * len(self.epochs) < 3:
            raise BadArguments("a layout needs three exposures: add fields, bands or epochs")

    @property
    def height_px(self) -> int:
        """Number of rows that all fields cover together."""
        return self.n_fields * (self.naxis2 - self.overlap_px) + self.overlap_px


@dataclass(frozen=True, eq=False)
class Exposure:
    """One image to take: where, when and through what."""

    layout: Layout
    band: Band
    epoch: Epoch
    field: int
    mjd: float
    wcs: WCS

    @property
    def name(self) -> str:
        """Name of the file without its suffix, as SDSS names frames: band, run, camcol, field."""
        return f"frame-{self.band.name}-{self.epoch.run:06d}-{CAMCOL}-{self.field:04d}"

    @property
    def mid_mjd(self) -> float:
        """Middle of the exposure (MJD, UTC): the time at which moving sources are placed."""
        return self.mjd + 0.5 * self.layout.exptime_s / SECONDS_PER_DAY

    @property
    def psf_fwhm_arcsec(self) -> float:
        """Full width at half maximum of the PSF."""
        return self.band.psf_fwhm_arcsec * self.epoch.seeing

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of the image."""
        return self.layout.naxis2, self.layout.naxis1

    @property
    def sky_level(self) -> float:
        """Mean sky in nanomaggies per pixel."""
        return float(10.0 ** (0.4 * (22.5 - self.band.sky_mag_arcsec2)) * self.layout.pixel_scale_arcsec**2)


def exposure_start(epoch: Epoch, row: int, column: float) -> float:
    """Return when (MJD, UTC) the field in a row of the layout is exposed in the band of a column."""
    return epoch.mjd + (row * _FIELD_STEP_S + column * _BAND_STEP_S) / SECONDS_PER_DAY


def plan_exposures(layout: Layout, seed: int) -> list[Exposure]:
    """Return all exposures, by epoch, field and band.

    Every epoch points up to 2.5 arcsec away from the plan, every band another 0.1 arcsec (a
    quarter of a pixel): bands of one visit overlay without resampling, visits do not.
    """
    rng = np.random.default_rng([seed, 1])
    visit = rng.uniform(-_DITHER_ARCSEC, _DITHER_ARCSEC, (len(layout.epochs), 2))
    band = rng.uniform(-_BAND_JITTER_ARCSEC, _BAND_JITTER_ARCSEC, (len(layout.epochs), len(layout.bands), 2))
    return [
        _plan_exposure(layout, epoch, row, column, visit[number] + band[number, column])
        for number, epoch in enumerate(layout.epochs)
        for row in range(layout.n_fields)
        for column in range(len(layout.bands))
    ]


def tangent_wcs(layout: Layout) -> WCS:
    """Return the projection of the plane about the survey's centre: x east, y north, in arcsec."""
    wcs = _tan_wcs((layout.ra, layout.dec), np.eye(2) / 3600.0)
    wcs.wcs.crpix = [1.0, 1.0]
    return wcs


def sky_to_pixel(layout: Layout, rotation_deg: float) -> Float64:
    """Return the 2 x 2 matrix from (east, north) in arcsec to (x, y) in pixels at a field's centre."""
    return np.asarray(np.linalg.inv(_cd_matrix(layout, rotation_deg) * 3600.0))


def _plan_exposure(layout: Layout, epoch: Epoch, row: int, column: int, dither_arcsec: Float64) -> Exposure:
    step_arcsec = (layout.naxis2 - layout.overlap_px) * layout.pixel_scale_arcsec
    offset_arcsec = (row - 0.5 * (layout.n_fields - 1)) * step_arcsec
    angle = np.radians(epoch.rotation_deg)
    pointing = offset_arcsec * np.array([np.sin(angle), np.cos(angle)]) + dither_arcsec
    (centre,) = tangent_wcs(layout).wcs_pix2world([pointing], 0)
    wcs = _tan_wcs(centre, _cd_matrix(layout, epoch.rotation_deg))
    wcs.wcs.crpix = [0.5 * (layout.naxis1 + 1), 0.5 * (layout.naxis2 + 1)]
    wcs.array_shape = (layout.naxis2, layout.naxis1)
    mjd = exposure_start(epoch, row, column)
    return Exposure(layout, layout.bands[column], epoch, _FIRST_FIELD + row, mjd, wcs)


def _cd_matrix(layout: Layout, rotation_deg: float) -> Float64:
    """Return degrees (east, north) per pixel: x west, y north, y turned east by the rotation."""
    angle = np.radians(rotation_deg)
    turn = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(turn * layout.pixel_scale_arcsec / 3600.0)


def _tan_wcs(centre_deg: tuple[float, float] | Float64, cd: Float64) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = list(centre_deg)
    wcs.wcs.cd = cd
    return wcs
