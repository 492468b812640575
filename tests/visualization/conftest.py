"""A small lake in memory, made to measure, and images to go with it."""

from collections.abc import Callable

import duckdb
import numpy as np
import pandas as pd
import pytest
from astropy.wcs import WCS

from astrolake.schema import IMAGES, OBJECTS
from astrolake.sky.healpix import healpix29
from astrolake.visualization.source import LakeSource, Query

PIXEL_ARCSEC = 0.4
SHAPE = (300, 400)


@pytest.fixture
def make_query() -> Callable[..., Query]:
    """Return a function that puts frames, by table name, behind a DuckDB query."""

    def make(**tables: pd.DataFrame) -> Query:
        connection = duckdb.connect(config={"python_enable_replacements": False})
        for name, frame in tables.items():
            connection.register(name, frame)
        return lambda sql: connection.execute(sql).df()

    return make


@pytest.fixture
def make_source(make_query: Callable[..., Query]) -> Callable[..., LakeSource]:
    """Return a function that makes a LakeSource of frames."""
    return lambda **tables: LakeSource(make_query(**tables))


@pytest.fixture
def make_wcs() -> Callable[..., WCS]:
    """Return a function that makes the WCS of an image: x west, y north, turned by an angle."""

    def make(ra=150.0, dec=2.0, turn_deg=0.0, shift_px=(0.0, 0.0)) -> WCS:
        angle = np.radians(turn_deg)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [ra, dec]
        wcs.wcs.crpix = [0.5 * (SHAPE[1] + 1) + shift_px[0], 0.5 * (SHAPE[0] + 1) + shift_px[1]]
        turn = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        wcs.wcs.cd = turn * PIXEL_ARCSEC / 3600.0
        return wcs

    return make


@pytest.fixture
def make_image_row(make_wcs) -> Callable[..., dict]:
    """Return a function that makes a row of `images`."""

    def make(image_id, band, wcs=None, **changes) -> dict:
        wcs = wcs or make_wcs()
        ny, nx = SHAPE
        corners = wcs.wcs_pix2world([0, nx - 1, nx - 1, 0], [0, 0, ny - 1, ny - 1], 0)
        ra, dec = wcs.wcs_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
        row = {column.name: None for column in IMAGES.columns} | {
            **{"image_id": image_id, "band": band, "survey": "test", "image_type": "science", "visit": "1"},
            **{"uri": f"{band}{image_id}.fits", "hdu": 0, "naxis1": nx, "naxis2": ny, "bad_fraction": 0.0},
            **{"pixel_scale_arcsec": PIXEL_ARCSEC, "zero_point_ab": 22.5, "psf_fwhm_arcsec": 1.2},
            **{"wcs_header": "\n".join(str(card) for card in wcs.to_header().cards)},
            **{"ra": float(ra), "dec": float(dec)},
            **{"corners_ra": corners[0].tolist(), "corners_dec": corners[1].tolist()},
        }
        return row | changes

    return make


@pytest.fixture
def make_objects() -> Callable[..., pd.DataFrame]:
    """Return a function that makes rows of `objects` at positions, in the bands g, r and i."""

    def make(ra, dec, **columns) -> pd.DataFrame:
        ra, dec = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
        frame = pd.DataFrame({column.name: np.zeros(ra.size) for column in OBJECTS.columns})
        frame["object_id"] = np.arange(ra.size)
        frame["_healpix_29"] = healpix29(ra, dec)
        frame["ra"], frame["dec"], frame["flags"] = ra, dec, 0
        frame["first_mjd"] = frame["last_mjd"] = 57388.5
        for band, magnitude in {"g": 20.5, "r": 20.0, "i": 19.8}.items():
            frame[f"mag_auto_{band}"] = frame[f"mag_aper_{band}"] = magnitude
            frame[f"mag_auto_err_{band}"] = frame[f"mag_aper_err_{band}"] = 0.01
        frame["g_r"], frame["r_i"] = 0.5, 0.2
        return frame.assign(**columns)

    return make


@pytest.fixture
def make_scene() -> Callable[..., np.ndarray]:
    """Return a function that paints Gaussian stars at positions, on a WCS, over a sky of 10 with noise."""

    def make(wcs, ra, dec, flux, sigma_px=1.6, seed=1) -> np.ndarray:
        image = 10.0 + 0.02 * np.random.default_rng(seed).standard_normal(SHAPE)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        for star_x, star_y, star in zip(*wcs.wcs_world2pix(ra, dec, 0), flux, strict=True):
            r2 = (x - star_x) ** 2 + (y - star_y) ** 2
            image += star / (2 * np.pi * sigma_px**2) * np.exp(-0.5 * r2 / sigma_px**2)
        return image.astype(np.float32)

    return make
