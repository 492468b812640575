"""The mask planes of SDSS, made and real."""

import io

import numpy as np
import pytest
from astropy.io import fits
from star_fields import gaussian_stars, observed

from astrolake.errors import BadInput
from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.fits_io import read_frame
from astrolake.photometry.flags import Flag
from astrolake.photometry.image_sources import image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file
from astrolake.photometry.sdss_masks import is_span_mask, read_span_mask

PLANES = ("S_MASK_INTERP", "S_MASK_SATUR", "S_MASK_NOTCHECKED", "S_MASK_OBJECT", "S_MASK_CR")


def fpm(shape, **spans):
    """Return the bytes of an fpM file with spans (row, first, last) of some planes."""
    primary = fits.PrimaryHDU()
    primary.header["MASKROWS"], primary.header["MASKCOLS"] = shape
    hdus = [primary]
    for plane in PLANES:
        rows = [np.array(spans.get(plane, []), ">i2").ravel().view(np.uint8)]
        column = fits.Column("s", "PB()", array=np.array([*rows, np.zeros(0, np.uint8)], dtype=object))
        hdus.append(fits.BinTableHDU.from_columns([column]))
    names = np.array([("S_MASKTYPE", name, i) for i, name in enumerate(PLANES)], "U31,U31,i4")
    names.dtype.names = ("defName", "attributeName", "Value")
    hdus.append(fits.BinTableHDU(names))
    out = io.BytesIO()
    fits.HDUList(hdus).writeto(out)
    return out.getvalue()


def test_spans_become_pixels():
    raw = fpm(
        (20, 30),
        S_MASK_INTERP=[(3, 5, 7), (3, 7, 9)],
        S_MASK_SATUR=[(3, 6, 6), (25, 1, 2)],
        S_MASK_NOTCHECKED=[(0, 0, 29)],
        S_MASK_OBJECT=[(10, 10, 12)],
        S_MASK_CR=[(4, 28, 40)],
    )
    bad, flags = read_span_mask(io.BytesIO(raw), "fpM")
    assert bad.sum() == bad[0].sum() == 30
    assert np.argwhere(flags & Flag.BAD_PIXELS).tolist() == [[3, x] for x in range(5, 10)] + [
        [4, 28],
        [4, 29],
    ]
    assert np.argwhere(flags & Flag.SATURATED).tolist() == [[3, 6]]
    assert not flags[10].any()


@pytest.mark.parametrize(
    "raw", [b"", b"SIMPLE", fits.PrimaryHDU(np.zeros((9, 9))).header.tostring().encode()]
)
def test_another_file_is_refused_by_name(raw):
    with pytest.raises(BadInput, match=r"fpM-x.fits holds no mask planes"):
        read_span_mask(io.BytesIO(raw), "fpM-x.fits")


def test_only_fpm_files_are_span_masks():
    assert is_span_mask("file:///a/fpM-002583-r2-0136.fits.gz")
    assert not is_span_mask("file:///a/fpC-002583-r2-0136.fits.gz")


SHAPE = (200, 260)
STARS = observed(gaussian_stars(SHAPE, [60, 130, 200], [100, 100, 100], 20_000.0, 1.7))


@pytest.mark.parametrize("size", [0, 90])
def test_sources_get_the_flags_of_their_pixels(size):
    flag_image = np.zeros(SHAPE, np.int32)
    flag_image[100, 129:132] = Flag.SATURATED
    flag_image[101, 131] = Flag.BAD_PIXELS
    flag_image[20, 20] = Flag.SATURATED
    options = ExtractionOptions(subtile_px=size, subtile_margin_px=30)
    columns = extract_frame(STARS, flag_image=flag_image, gain=2.0, options=options).columns
    order = columns["x"].argsort()
    assert columns["flags"][order].tolist() == [0, Flag.SATURATED | Flag.BAD_PIXELS, 0]


def test_a_flag_image_of_another_shape_is_refused():
    with pytest.raises(BadInput, match="the flag image has the shape"):
        extract_frame(STARS, flag_image=np.zeros((3, 3), np.int32))


@pytest.mark.data
def test_the_mask_of_a_real_frame_is_found_and_used(survey_data):
    image = scan_file(str(survey_data / "images_sdss" / "frame-r-002583-2-0136.fits.bz2")).images[0]
    assert image["mask_uri"].endswith("fpM-002583-r2-0136.fits")
    frame = read_frame(image)
    assert frame.bad[:, [0, -1]].all()
    assert frame.bad.sum() == 3437
    saturated = frame.flags & Flag.SATURATED > 0
    assert np.median(frame.data[saturated]) > 100 * np.median(np.abs(frame.data))
    rows = image_sources(image, [], ExtractionOptions(), (1.5, 3.0)).rows.to_pandas()
    flagged = rows["flags"] & Flag.SATURATED > 0
    assert 20 < flagged.sum() < 400
    assert rows.loc[flagged, "mag_auto"].median() < 16 < rows.loc[~flagged, "mag_auto"].median() - 4


@pytest.mark.data
def test_weights_and_masks_of_real_images_are_found(survey_data):
    decam = next((survey_data / "images_decam" / "case8").glob("*ooi_r*"))
    image = scan_file(str(decam)).images[0]
    assert (image["weight_kind"], image["mask_uri"] is not None) == ("invvar", True)
    brick = scan_file(
        str(survey_data / "images_legacy_brick" / "legacysurvey-0959p805-image-g.fits.fz")
    ).images[0]
    frame = read_frame(brick)
    assert brick["weight_kind"] == "invvar"
    assert frame.bad.mean() == pytest.approx(0.884, abs=0.001)
    assert (frame.variance[~frame.bad] > 0).all()
