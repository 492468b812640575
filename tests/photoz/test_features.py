import json

import numpy as np
import pytest

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photoz.features import ExtraColumn, FeatureSpec, asinh_mag, fill_missing
from astrolake.photoz.photometry import BandColumns

BANDS = tuple(BandColumns(b, f"mag_{b}", f"err_{b}") for b in "ugriz")


def galaxies(n=400, seed=0, deep=0.0):
    rng = np.random.default_rng(seed)
    red = rng.uniform(0, 1, n)
    mags = rng.uniform(19, 23, n)[:, None] + red[:, None] * np.array([2.0, 1.0, 0.4, 0.0, -0.3])
    depth = 10 ** (0.3 * (mags - 24)) * np.exp(deep * rng.standard_normal((n, 1)))
    mags += rng.normal(0, 0.02, mags.shape)
    columns = {f"mag_{b}": mags[:, k] for k, b in enumerate("ugriz")}
    columns |= {f"err_{b}": depth[:, k] for k, b in enumerate("ugriz")}
    return columns | {"petro_radius": rng.lognormal(0.5, 0.4, n)}


def test_features_are_named_standardised_and_finite():
    columns = galaxies()
    spec = FeatureSpec.fit(columns, BANDS, [ExtraColumn("petro_radius", "log")])
    assert spec.names[:5] == ("mag_i", "u_g", "g_r", "r_i", "i_z")
    assert spec.names[-6:] == (*(f"missing_{b}" for b in "ugriz"), "missing_petro_radius")
    assert "petro_radius" in spec.columns
    features = spec.transform(spec.read(columns))
    assert features.dtype == np.float32
    assert features.shape == (400, len(spec.names))
    assert features[:, :-6].mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-4)
    assert features[:, :-6].std(axis=0) == pytest.approx(np.ones(6), abs=1e-3)


def test_asinh_magnitudes_are_magnitudes_where_bright_and_finite_where_negative():
    softening = np.array([0.01])
    flux = np.array([[100.0], [0.0], [-0.02]])
    mags = asinh_mag(flux, softening)[:, 0]
    assert mags[0] == pytest.approx(23.9 - 5, abs=1e-6)
    assert mags[1] == pytest.approx(23.9 - 2.5 * np.log10(0.01))
    assert mags[2] > mags[1]


def test_a_missing_band_is_an_indicator_and_keeps_the_colour_across_it():
    columns = galaxies(2000)
    spec = FeatureSpec.fit(columns, BANDS, errors=False)
    whole = spec.transform(spec.read(columns))
    for gone in (np.nan, -99.0):
        lost = columns | {"mag_g": np.full(2000, gone)}
        features = spec.transform(spec.read(lost))
        assert features[:, spec.names.index("missing_g")].tolist() == [1.0] * 2000
        assert np.isfinite(features).all()
        assert np.abs(features).max() < 6
        for colour in ("u_g", "g_r"):
            k = spec.names.index(colour)
            assert np.corrcoef(features[:, k], whole[:, k])[0, 1] > 0.98
    assert spec.transform(spec.read(lost))[:, 0] == pytest.approx(whole[:, 0])


def test_filled_values_are_the_conditional_means_of_a_gaussian():
    covariance = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.3], [0.2, 0.3, 1.5]])
    mean = np.array([1.0, 2.0, 3.0])
    rows = np.array([[np.nan, 4.0, 3.0], [np.nan, np.nan, np.nan], [1.0, 2.0, 5.0]])
    filled = fill_missing(rows, mean, covariance)
    given = covariance[0, 1:] @ np.linalg.inv(covariance[1:, 1:]) @ np.array([2.0, 0.0])
    assert filled[0] == pytest.approx([1.0 + given, 4.0, 3.0])
    assert filled[1] == pytest.approx(mean)
    assert filled[2].tolist() == rows[2].tolist()


def test_errors_are_features_where_they_say_something():
    assert not FeatureSpec.fit(galaxies(), BANDS).errors
    assert FeatureSpec.fit(galaxies(deep=0.5), BANDS).errors
    assert FeatureSpec.fit(galaxies(), BANDS, errors=True).names[5] == "ln_err_u"


def test_perturbed_objects_keep_a_band_and_scatter_by_their_errors():
    columns = galaxies(3000)
    spec = FeatureSpec.fit(columns, BANDS)
    inputs = spec.read(columns)
    again = inputs.perturbed(np.random.default_rng(1), 0.5, 0.6)
    seen = again.photometry.observed
    assert seen.any(axis=1).all()
    assert (~seen).mean() == pytest.approx(0.6 / 3, abs=0.02)
    shift = (again.photometry.flux - inputs.photometry.flux) / inputs.photometry.flux_err
    assert np.nanstd(shift) == pytest.approx(0.5, rel=0.05)
    assert np.isfinite(inputs.photometry.flux).all()


def test_the_file_form_gives_the_same_features():
    columns = galaxies()
    spec = FeatureSpec.fit(columns, BANDS, [ExtraColumn("petro_radius")])
    again = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert np.array_equal(spec.transform(spec.read(columns)), again.transform(again.read(columns)))
    assert again.names == spec.names


def test_what_a_catalog_lacks_is_named_at_once():
    columns = galaxies()
    spec = FeatureSpec.fit(columns, BANDS, [ExtraColumn("petro_radius")])
    with pytest.raises(MissingColumns, match=r"lacks the columns \['err_u', 'petro_radius'\]; it has"):
        spec.read({k: v for k, v in columns.items() if k not in ("err_u", "petro_radius")})
    other = FeatureSpec.fit(columns, BANDS[1:])
    with pytest.raises(BadArguments, match="bands"):
        spec.transform(other.read(columns))


def test_tables_that_teach_nothing():
    with pytest.raises(BadInput, match="10 rows; at least 100"):
        FeatureSpec.fit(galaxies(10), BANDS)
    with pytest.raises(BadInput, match=r"no usable value in \['mag_g'\]"):
        FeatureSpec.fit(galaxies() | {"mag_g": np.full(400, -99.0)}, BANDS)
