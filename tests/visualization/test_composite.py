"""The colour picture of a field."""

import numpy as np
import pandas as pd
import pytest

from astrolake.visualization.composite import aligned_channels, composite_picture
from astrolake.visualization.field import find_field

STARS = (np.array([150.001, 149.985]), np.array([2.003, 1.991]))
COLOURS = {"g": [100.0, 400.0], "r": [200.0, 400.0], "i": [400.0, 400.0]}


@pytest.fixture
def field(make_source, make_image_row, make_wcs, make_scene):
    shifts = {"g": (4.0, -3.0), "r": (0.0, 0.0), "i": (-5.0, 2.0)}
    wcs = {band: make_wcs(shift_px=shift) for band, shift in shifts.items()}
    rows = [make_image_row(number, band, wcs[band]) for number, band in enumerate("gri")]
    frames = {row["uri"]: make_scene(wcs[row["band"]], *STARS, COLOURS[row["band"]]) for row in rows}
    return pd.DataFrame(rows), lambda uri, hdu: frames[uri], wcs["r"]


def test_channels_lie_on_the_anchor_without_sky(field, make_source):
    images, read, target = field
    found = find_field(make_source(images=images), ("r", "i", "g"))
    by_band = {image.band: image for image in found}
    channels = aligned_channels([by_band[band] for band in "irg"], by_band["r"], read)
    x, y = (np.rint(value).astype(int) for value in target.wcs_world2pix(*STARS, 0))
    sums = [
        [np.nansum(band[b - 8 : b + 9, a - 8 : a + 9]) for a, b in zip(x, y, strict=True)]
        for band in channels
    ]
    np.testing.assert_allclose(sums, [COLOURS[band] for band in "irg"], rtol=0.03)


def test_zero_points_put_fluxes_on_one_scale(field, make_source):
    images, read, _ = field
    images.loc[images["band"] == "g", "zero_point_ab"] = 25.0
    (anchor,) = find_field(make_source(images=images), ("g",))
    (_, scaled, _) = aligned_channels([anchor] * 3, anchor, read)
    assert np.nanmax(scaled) == pytest.approx(0.1 * (read(anchor.uri, 0).max() - 10.0), rel=0.03)


def test_without_zero_points_channels_are_in_units_of_noise(field, make_source):
    images, read, _ = field
    images.loc[images["band"] == "i", "zero_point_ab"] = np.nan
    found = find_field(make_source(images=images), ("r", "i", "g"))
    channels = aligned_channels([found[0], found[0], found[1]], found[0], read)
    assert np.nanmedian(np.abs(channels[0])) * 1.4826 == pytest.approx(1.0, rel=0.02)
    assert "in units of the noise" in composite_picture(make_source(images=images), read).caption


def test_picture_says_what_it_shows(field, make_source):
    images, read, _ = field
    drawing = composite_picture(make_source(images=images), read)
    assert drawing.title == "A field of 2.7′ × 2.0′ at RA\u00a0150.000°, Dec\u00a0+2.000°"
    assert drawing.caption.startswith("i, r and g as red, green and blue (Lupton et al. 2004")
    assert drawing.figure.axes[0].images[0].get_array().shape == (300, 400, 3)
