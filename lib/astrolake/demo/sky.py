"""The true sky of the sample survey: every source with its position, motion, brightness and shape.

One row per source. Positions are ICRS at `ref_epoch` (2016.0; the time it was seen for the moving
source) and move with pmra and pmdec; parallax does not enter the images. The magnitude on an image
is mag_<band> + mag_delta_<run>; the latter is 0 for all but the variable star.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astrolake.demo.galaxies import draw_galaxies
from astrolake.demo.layout import Exposure, Layout, exposure_start, sky_to_pixel, tangent_wcs
from astrolake.demo.render import POINT_SOURCE, Scene
from astrolake.demo.stars import REF_EPOCH, draw_stars
from astrolake.sky.epoch import julian_year, propagate
from astrolake.sky.separation import separation_arcsec

Float64 = NDArray[np.float64]

#: name -> (unit, meaning) of the columns of the truth table; mag_delta_<run> follow.
TRUTH_COLUMNS = {
    "truth_id": ("", "Number of the source, from 1"),
    "type": ("", "star, galaxy, variable or moving"),
    "ra": ("deg", "Right ascension, ICRS, at ref_epoch"),
    "dec": ("deg", "Declination, ICRS, at ref_epoch"),
    "ref_epoch": ("yr", "Julian epoch of ra and dec"),
    "pmra": ("mas/yr", "Proper motion in right ascension times cos(dec)"),
    "pmdec": ("mas/yr", "Proper motion in declination"),
    "parallax": ("mas", "Parallax, not applied to the images; null for galaxies and the moving source"),
    "mag_g": ("mag", "Total AB magnitude in g"),
    "mag_r": ("mag", "Total AB magnitude in r"),
    "mag_i": ("mag", "Total AB magnitude in i"),
    "re_arcsec": ("arcsec", "Half-light radius on the major axis; null for point sources"),
    "n_sersic": ("", "Sersic index; null for point sources"),
    "axis_ratio": ("", "Minor over major axis; null for point sources"),
    "angle_deg": ("deg", "Position angle of the major axis, north through east; null for point sources"),
    "z": ("", "Redshift; null for all but galaxies"),
}
#: Sources are placed this far beyond the fields, for dithers, rotation and wings.
_MARGIN_ARCSEC = 25.0
_ISOLATION_ARCSEC = 10.0
_N_BLENDS = 8
_N_HIGH_MOTION = 5
_VARIABLE_AMPLITUDE_MAG = 0.45
#: 35 arcsec an hour, as a main-belt asteroid near opposition, at position angle 290 deg.
_ASTEROID_MAS_YR = 35_000.0 * 24.0 * 365.25
_ASTEROID_ANGLE_DEG = 290.0


def delta_column(run: int) -> str:
    """Return the name of the truth column with the magnitude change of a run."""
    return f"mag_delta_{run}"


def draw_sky(layout: Layout, seed: int) -> pd.DataFrame:
    """Draw all sources of the survey; the same layout and seed give the same table.

    Returns
    -------
    DataFrame
        `TRUTH_COLUMNS`, then one mag_delta_<run> per epoch. The last rows are the variable star,
        a star that saturates (r = 11.5) and the moving source; nothing else lies within 10 arcsec
        of them. Eight sources with r < 20.5 have a companion 1.5 to 3 arcsec away, and five stars
        move by more than 200 mas/yr.
    """
    rng = np.random.default_rng([seed, 2])
    half = _half_extent_arcsec(layout)
    area_deg2 = float(np.prod(2.0 * half)) / 3600.0**2
    stars = draw_stars(rng, rng.poisson(layout.stars_per_deg2 * area_deg2))
    galaxies = draw_galaxies(rng, rng.poisson(layout.galaxies_per_deg2 * area_deg2))
    _speed_up(rng, stars)
    sources = pd.concat([stars.assign(type="star"), galaxies.assign(type="galaxy")], ignore_index=True)
    plane = rng.uniform(-half, half, (len(sources), 2))
    _blend(rng, sources["mag_r"].to_numpy(), plane)
    special, special_plane = _special_sources(layout, half - _MARGIN_ARCSEC)
    distance = np.linalg.norm(plane[:, np.newaxis] - special_plane, axis=2).min(axis=1)
    alone = distance > _ISOLATION_ARCSEC
    return _finish(
        layout,
        pd.concat([sources[alone], special], ignore_index=True),
        np.concatenate([plane[alone], special_plane]),
    )


def project(truth: pd.DataFrame, exposure: Exposure) -> Scene:
    """Return the sources as they fall on an exposure: positions at its time, fluxes in nanomaggies.

    Sources more than a degree from the survey's centre, where the moving one is at most epochs,
    are left out.
    """
    layout = exposure.layout
    epoch_yr = julian_year(exposure.mid_mjd)
    ra, dec = propagate(
        truth["ra"], truth["dec"], truth["pmra"], truth["pmdec"], truth["ref_epoch"], epoch_yr
    )
    near = separation_arcsec(ra, dec, layout.ra, layout.dec) < 3600.0
    seen = truth[near]
    x_px, y_px = exposure.wcs.wcs_world2pix(ra[near], dec[near], 0)
    mag = seen[f"mag_{exposure.band.name}"] + seen[delta_column(exposure.epoch.run)]
    xx, xy, yy = pixel_covariance(
        seen["re_arcsec"].to_numpy(),
        seen["axis_ratio"].to_numpy(),
        seen["angle_deg"].to_numpy(),
        sky_to_pixel(layout, exposure.epoch.rotation_deg),
    )
    return Scene(
        x_px=x_px,
        y_px=y_px,
        flux=10.0 ** (0.4 * (22.5 - mag.to_numpy())),
        cov_xx=np.nan_to_num(xx),
        cov_xy=np.nan_to_num(xy),
        cov_yy=np.nan_to_num(yy),
        sersic_n=seen["n_sersic"].fillna(POINT_SOURCE).to_numpy(),
    )


def pixel_covariance(
    re_arcsec: Float64, axis_ratio: Float64, angle_deg: Float64, to_pixel: Float64
) -> tuple[Float64, Float64, Float64]:
    """Return xx, xy, yy in px^2 of ellipses given on the sky; NaN stays NaN.

    Parameters
    ----------
    re_arcsec, axis_ratio, angle_deg : (N,) float64
        Semi-major axis, minor over major axis, position angle north through east.
    to_pixel : (2, 2) float64
        Matrix from (east, north) in arcsec to (x, y) in pixels.
    """
    angle = np.radians(angle_deg)
    ax, ay = to_pixel @ (re_arcsec * np.stack([np.sin(angle), np.cos(angle)]))
    bx, by = to_pixel @ (re_arcsec * axis_ratio * np.stack([np.cos(angle), -np.sin(angle)]))
    return ax**2 + bx**2, ax * ay + bx * by, ay**2 + by**2


def _half_extent_arcsec(layout: Layout) -> Float64:
    """Return half the width and height of the sky that is filled with sources."""
    size_px = np.array([layout.naxis1, layout.height_px])
    return np.asarray(0.5 * size_px * layout.pixel_scale_arcsec + _MARGIN_ARCSEC)


def _speed_up(rng: np.random.Generator, stars: pd.DataFrame) -> None:
    """Give some stars of r = 15 to 19 a proper motion of 220 to 600 mas/yr, in place."""
    eligible = np.flatnonzero(stars["mag_r"].between(15.0, 19.0))
    rows = rng.permutation(eligible)[:_N_HIGH_MOTION]
    motion, angle = rng.uniform(220.0, 600.0, rows.size), rng.uniform(0.0, 2.0 * np.pi, rows.size)
    stars.loc[rows, "pmra"] = motion * np.sin(angle)
    stars.loc[rows, "pmdec"] = motion * np.cos(angle)
    # At the 80 km/s of such nearby stars.
    stars.loc[rows, "parallax"] = 4.74 * motion / 80.0


def _blend(rng: np.random.Generator, mag_r: Float64, plane: Float64) -> None:
    """Move some sources next to others, both with r in [17, 20.5], in place."""
    eligible = rng.permutation(np.flatnonzero((mag_r > 17.0) & (mag_r < 20.5)))
    n = min(_N_BLENDS, eligible.size // 2)
    separation, angle = rng.uniform(1.5, 3.0, n), rng.uniform(0.0, 2.0 * np.pi, n)
    offset = separation[:, np.newaxis] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    plane[eligible[n : 2 * n]] = plane[eligible[:n]] + offset


def _special_sources(layout: Layout, half_arcsec: Float64) -> tuple[pd.DataFrame, Float64]:
    """Return the variable, the saturated and the moving source, and where they lie on the plane."""
    first = layout.epochs[0]
    seen = exposure_start(first, layout.n_fields - 1, 0.5 * (len(layout.bands) - 1))
    angle = np.radians(_ASTEROID_ANGLE_DEG)
    rows = pd.DataFrame(
        {
            "type": ["variable", "star", "moving"],
            "mag_g": [18.22, 12.05, 18.98],
            "mag_r": [18.0, 11.5, 18.5],
            "mag_i": [17.92, 11.3, 18.31],
            "pmra": [-3.1, 6.4, _ASTEROID_MAS_YR * np.sin(angle)],
            "pmdec": [-5.2, -11.9, _ASTEROID_MAS_YR * np.cos(angle)],
            "parallax": [0.1, 1.9, np.nan],
            "ref_epoch": [REF_EPOCH, REF_EPOCH, float(julian_year(seen))],
        }
    )
    return rows, np.array([[-0.44, -0.5], [-0.6, 0.24], [0.3, 0.54]]) * half_arcsec


def _finish(layout: Layout, sources: pd.DataFrame, plane: Float64) -> pd.DataFrame:
    """Return the sources with positions, in the columns of the truth table."""
    ra, dec = tangent_wcs(layout).wcs_pix2world(plane[:, 0], plane[:, 1], 0)
    sources = sources.assign(
        truth_id=np.arange(1, len(sources) + 1, dtype=np.int64),
        ra=ra,
        dec=dec,
        ref_epoch=sources["ref_epoch"].fillna(REF_EPOCH),
        pmra=sources["pmra"].fillna(0.0),
        pmdec=sources["pmdec"].fillna(0.0),
    )[list(TRUTH_COLUMNS)]
    varies = (sources["type"] == "variable").to_numpy()
    for number, epoch in enumerate(layout.epochs):
        sign = -1.0 if number % 2 == 0 else 1.0
        sources[delta_column(epoch.run)] = np.where(varies, sign * _VARIABLE_AMPLITUDE_MAG, 0.0)
    return sources
