import sys

import numpy as np
import pytest

from astrolake.errors import BadArguments, BadInput, MissingDependency
from astrolake.photoz.filters import FilterCurve, load_filters, read_filter, synthetic_flux
from astrolake.photoz.sed_files import Spectrum
from tests.photoz.templates_world import box


def test_flat_f_nu_has_its_ab_flux_in_every_band():
    wave = np.linspace(1000, 20000, 5000)
    flat = Spectrum("flat", wave, 2.99792458e18 / wave**2 * 1e-29)  # 1 microjansky
    for curve in (box("g", 4000, 5500), box("z", 8200, 9300)):
        assert synthetic_flux(flat, curve) == pytest.approx(1.0, rel=1e-5)


def test_pivot_of_a_box():
    # sqrt((b^2 - a^2) / 2 / ln(b / a))
    curve = FilterCurve("g", np.linspace(4000, 5000, 2001), np.ones(2001))
    assert curve.pivot == pytest.approx(np.sqrt(9e6 / 2 / np.log(1.25)), rel=1e-6)


@pytest.mark.parametrize(
    ("survey", "band", "pivot"),
    [
        ("sdss", "r", 6176),  # SVO filter profile service: pivot wavelengths
        ("panstarrs", "i", 7520),
        ("decam", "g", 4826),
        ("legacy", "W1", 33526),
        ("legacy_north", "z", 9212),
        ("gaia", "G", 6218),
        ("wise2010", "W2", 46028),
    ],
)
def test_curves_of_surveys(survey, band, pivot):
    pytest.importorskip("speclite")
    (curve,) = load_filters(survey, [band])
    assert curve.band == band
    assert curve.pivot == pytest.approx(pivot, rel=0.01)


def test_unknown_band_names_surveys():
    pytest.importorskip("speclite")
    with pytest.raises(BadInput, match=r"'q' of 'sdss'.*panstarrs"):
        load_filters("sdss", ["q"])


def test_directory_of_files(tmp_path):
    (tmp_path / "g_cam.res").write_text("# curve\n4000 0\n4500 0.5\n5000 0\n")
    (tmp_path / "y_one.res").write_text("9000 0\n9500 1\n9900 0\n")
    (tmp_path / "y_two.res").write_text("9000 0\n9500 1\n9900 0\n")
    (tmp_path / "r.par").write_text(
        "typedef struct {\n double lambda;\n double pass;\n} KCORRECT;\n\n"
        "KCORRECT 6000.0 0.0\nKCORRECT 6500.0 1.0\nKCORRECT 7000.0 0.0\n"
    )
    curves = load_filters(tmp_path, ["g", "r", "y"], {"y": "y_two"})
    assert [c.band for c in curves] == ["g", "r", "y"]
    assert curves[0].wavelength.tolist() == [4000, 4500, 5000]
    assert curves[1].response.tolist() == [0, 1, 0]
    with pytest.raises(BadInput, match=r"more than one filter curve for band 'y': y_one.res, y_two.res"):
        load_filters(tmp_path, ["y"])
    with pytest.raises(BadInput, match=r"no filter curve for band 'u'"):
        load_filters(tmp_path, ["u"])


def test_curves_that_are_none(tmp_path):
    (tmp_path / "dark.res").write_text("4000 0\n5000 0\n")
    (tmp_path / "text.res").write_text("no numbers here\n")
    with pytest.raises(BadInput, match="no light"):
        read_filter(tmp_path / "dark.res", "g")
    with pytest.raises(BadInput, match="no table of numbers"):
        read_filter(tmp_path / "text.res", "g")
    with pytest.raises(BadArguments, match="no bands"):
        load_filters(tmp_path, [])


def test_without_speclite_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "speclite.filters", None)
    with pytest.raises(MissingDependency, match=r"astrolake\[photoz\]"):
        load_filters("sdss", ["r"])
