"""The files of the sample sky, read back by other libraries."""

from dataclasses import replace

import fitsio
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import sep
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from astrolake.demo import Layout, write_sample_sky
from astrolake.demo.detector import pixel_noise
from astrolake.demo.layout import plan_exposures
from astrolake.demo.sky import draw_sky, project
from astrolake.demo.write import take_image

#: A tenth of the size in each direction, with the sky ten times as dense.
SMALL = Layout(naxis1=320, naxis2=256, overlap_px=64, stars_per_deg2=80_000.0, galaxies_per_deg2=150_000.0)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample_sky(tmp_path_factory.mktemp("sky"), seed=7, layout=SMALL)


def pixels(path):
    with fits.open(path) as hdus:
        hdu = next(h for h in hdus if h.data is not None)
        return np.array(hdu.data, dtype=np.float64), hdu.header


def image_named(sample, start):
    return next(path for path in sample.images if path.name.startswith(start))


def test_files_on_disk_are_those_reported(sample):
    assert set(sample.images_dir.iterdir()) == {*sample.images, *sample.bad_images}
    assert [path.exists() for path in (sample.truth, sample.reference, sample.specz)] == [True] * 3


def test_most_images_are_plain_one_is_gzipped_one_is_rice_compressed(sample):
    assert sorted("".join(path.suffixes) for path in sample.images) == [".fits"] * 10 + [
        ".fits.fz",
        ".fits.gz",
    ]


def test_every_image_opens_in_fitsio_and_astropy(sample):
    for path in sample.images:
        with fitsio.FITS(str(path)) as hdus:
            extension = 0 if hdus[0].has_data() else 1
            np.testing.assert_allclose(hdus[extension].read(), pixels(path)[0], rtol=1e-6)


def test_cards_of_the_header(sample):
    _, header = pixels(image_named(sample, "frame-r-001001-3-0101"))
    wanted = {"SURVEY": "DEMO", "FILTER": "r", "RUN": 1001, "CAMCOL": 3, "FIELD": 101, "TIMESYS": "UTC",
              "BUNIT": "nanomaggy", "MAGZERO": 22.5, "EXPTIME": 53.9, "GAIN": 500.0, "SATURATE": 200.0,
              "PSFFWHM": 1.25, "RADESYS": "ICRS"}  # fmt: skip
    assert {name: header[name] for name in wanted} == wanted
    assert "electrons per nanomaggy" in header.comments["GAIN"]
    assert header["DATE-OBS"].startswith("2017-09-04T06:05")
    assert header["MJD-OBS"] == pytest.approx(58000.25 + 300.0 / 86400.0)


def test_the_compressed_image_keeps_the_pixels_to_a_tenth_of_the_noise(sample):
    path = sample.images[-1]
    exposure = plan_exposures(SMALL, 7)[-1]
    error = pixels(path)[0] - take_image(draw_sky(SMALL, 7), exposure, 7)
    assert np.abs(error).max() < 0.1 * pixel_noise(exposure)


def test_the_same_seed_gives_the_same_bytes(sample, tmp_path):
    again = write_sample_sky(tmp_path, seed=7, layout=SMALL)
    files = [*again.images, *again.bad_images, again.truth, again.reference, again.specz]
    for path in files:
        assert path.read_bytes() == (sample.directory / path.relative_to(tmp_path)).read_bytes(), path.name


def test_writing_again_replaces_the_files(tmp_path):
    tiny = replace(SMALL, naxis1=96, naxis2=80, overlap_px=16)
    first = write_sample_sky(tmp_path, seed=7, layout=tiny)
    assert write_sample_sky(tmp_path, seed=7, layout=tiny) == first


def test_another_seed_gives_other_pixels(tmp_path):
    tiny = replace(SMALL, naxis1=96, naxis2=80, overlap_px=16)
    a, b = (write_sample_sky(tmp_path / str(seed), seed=seed, layout=tiny) for seed in (7, 8))
    for one, other in zip(a.images, b.images, strict=True):
        assert (pixels(one)[0] != pixels(other)[0]).mean() > 0.9


def test_one_image_has_a_block_of_columns_without_data(sample):
    blank = [np.isnan(pixels(path)[0]) for path in sample.images]
    assert [b.sum() for b in blank].count(0) == 11
    block = next(b for b in blank if b.any())
    assert block.all(axis=0).sum() == 4
    assert block.sum() == 4 * 256


@pytest.mark.filterwarnings("ignore:File may have been truncated")
@pytest.mark.parametrize("number", [0, 1])
def test_bad_images_cannot_be_read(sample, number):
    path = sample.bad_images[number]
    with pytest.raises(OSError, match=r"."):
        fitsio.read(str(path))
    with pytest.raises((OSError, TypeError, ValueError)):
        pixels(path)[0].sum()


def test_the_truncated_image_still_has_its_header(sample):
    assert fitsio.read_header(str(sample.bad_images[0]))["RUN"] == 1003


def test_a_star_in_the_overlap_has_the_same_flux_on_both_fields(sample):
    truth, plan = draw_sky(SMALL, 7), plan_exposures(SMALL, 7)
    pair = [
        next(e for e in plan if (e.band.name, e.epoch.run, e.field) == ("r", 1001, f)) for f in (101, 102)
    ]
    stars = truth[(truth["type"] == "star") & (truth["mag_r"] < 20.0)]
    lower, upper = (project(stars, exposure) for exposure in pair)
    inside = [(s.x_px > 15) & (s.x_px < 305) & (s.y_px > 15) & (s.y_px < 241) for s in (lower, upper)]
    shared = inside[0] & inside[1]
    assert shared.sum() >= 2
    fluxes = []
    for scene, exposure in zip((lower, upper), pair, strict=True):
        data, _ = pixels(image_named(sample, exposure.name))
        background = sep.Background(data)
        fluxes.append(
            sep.sum_circle(data - background.back(), scene.x_px[shared], scene.y_px[shared], 6.0)[0]
        )
    assert fluxes[0] == pytest.approx(fluxes[1], rel=0.15)


def test_detections_lie_on_the_true_positions_by_the_wcs_of_the_file(sample):
    path = image_named(sample, "frame-r-001001-3-0101")
    data, header = pixels(path)
    sources = sep.extract(data - sep.Background(data).back(), 10.0, err=sep.Background(data).globalrms)
    ra, dec = WCS(header).all_pix2world(sources["x"], sources["y"], 0)
    truth = pd.read_parquet(sample.truth)
    stars = truth[(truth["type"] == "star") & (truth["mag_r"] < 19.0)]
    east = (ra[:, None] - stars["ra"].to_numpy()) * np.cos(np.radians(dec))[:, None] * 3600.0
    offset = np.hypot(east, (dec[:, None] - stars["dec"].to_numpy()) * 3600.0).min(axis=1)
    matched = offset < 1.0
    assert matched.sum() > 10
    assert np.median(offset[matched]) < 0.05


def test_reference_has_units_and_three_bad_rows(sample):
    table = Table.read(sample.reference)
    dec = np.ma.filled(table["dec"], np.nan)
    bad = ~np.isfinite(dec) | (np.abs(dec) > 90.0)
    assert bad.sum() == sample.n_bad_reference == 3
    assert (~bad).sum() == sample.n_reference > 20
    assert table["source_id"].dtype.newbyteorder("=") == np.int64
    assert len(set(table["source_id"].tolist())) == len(table)
    assert [str(table[c].unit) for c in ("ra", "pmra", "parallax", "ref_epoch")] == [
        "deg",
        "mas / yr",
        "mas",
        "yr",
    ]


def test_specz_has_one_broken_line(sample):
    header, *lines = sample.specz.read_text().splitlines()
    assert header == "specobjid,ra,dec,z,z_err,class"
    whole = [line for line in lines if line.count(",") == 5]
    assert len(whole) == sample.n_specz > 5
    assert len(lines) - len(whole) == sample.n_bad_specz == 1


def test_truth_names_units_and_nulls(sample):
    table = pq.read_table(sample.truth)
    assert table.num_rows == sample.n_sources
    assert table.schema.field("pmra").metadata[b"unit"] == b"mas/yr"
    assert all(field.metadata[b"doc"] for field in table.schema)
    is_galaxy = np.array(table["type"].to_pylist()) == "galaxy"
    assert (np.array(table["re_arcsec"].is_null()) == ~is_galaxy).all()


def test_ids_name_the_variable_and_the_moving_source(sample):
    kinds = pd.read_parquet(sample.truth).set_index("truth_id")["type"]
    assert kinds[sample.variable_id] == "variable"
    assert kinds[sample.moving_id] == "moving"


def test_progress_names_every_image(tmp_path):
    lines = []
    tiny = replace(SMALL, naxis1=96, naxis2=80, overlap_px=16)
    sample = write_sample_sky(tmp_path, progress=lines.append, layout=tiny)
    assert all(any(path.name in line for line in lines) for path in sample.images)


def test_a_full_size_exposure_holds_several_hundred_sources():
    layout = Layout()
    exposure = next(e for e in plan_exposures(layout, 7) if e.band.name == "r")
    truth = draw_sky(layout, 7)
    image = take_image(truth, exposure, 7)
    assert image.shape == (1489, 2048)
    background = sep.Background(image)
    found = sep.extract(image - background.back(), 1.5, err=background.globalrms, minarea=5)
    assert 400 < len(found) < 1500
    scene = project(truth, exposure)
    stars = (scene.sersic_n == 0.0) & (scene.flux > 10.0 ** (0.4 * (22.5 - 21.0)))
    inside = stars & (np.abs(scene.x_px - 1023.5) < 1000) & (np.abs(scene.y_px - 744) < 730)
    offset = np.hypot(scene.x_px[inside, None] - found["x"], scene.y_px[inside, None] - found["y"]).min(
        axis=1
    )
    assert (offset < 3.0).mean() > 0.95
