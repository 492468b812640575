import importlib.metadata
import multiprocessing
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photoz import artifact, packed_models, pdf, template_kernel
from astrolake.photoz.filters import load_filters, synthetic_flux
from astrolake.photoz.flags import PhotozFlag
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.model_grid import content_hash, model_grid
from astrolake.photoz.packed_models import pack
from astrolake.photoz.photometry import BandColumns, Photometry
from astrolake.photoz.prior import MagnitudePrior, PriorTable
from astrolake.photoz.sed_files import Spectrum
from astrolake.photoz.template_error import template_error
from astrolake.photoz.template_fit import TemplateFit
from astrolake.photoz.templates import load_templates
from astrolake.photoz.zero_points import calibrate
from tests.photoz.templates_world import BANDS, COLUMNS, FILTERS, GRID, catalog, templates


@pytest.fixture(scope="module")
def models():
    return model_grid(templates(), FILTERS, GRID)


@pytest.fixture(scope="module")
def fit():
    return TemplateFit.make(templates(), FILTERS, COLUMNS, GRID, template_error=0.0, floor=0.01)


def drawn(models, n, snr=50.0, seed=5):
    """Galaxies of known template and redshift: fluxes, errors, templates, places in the grid."""
    rng = np.random.default_rng(seed)
    template, place = rng.integers(0, 4, n), rng.integers(20, 130, n)
    true = models.flux[template, place].astype(np.float64) * rng.uniform(1, 30, n)[:, np.newaxis]
    error = true / snr
    return true + rng.normal(size=true.shape) * error, error, template, place


def brute_force(models, flux, variance, error2, prior):
    """Float64, one galaxy: density and chi2 of all models."""
    seen = np.isfinite(flux) & (variance > 0)
    f, m = flux[seen], models.flux[:, :, seen].astype(np.float64)
    w = 1 / (variance[seen] + error2[:, seen] * f**2)
    top, under = (m * w * f).sum(axis=2), (m * m * w).sum(axis=2)
    amplitude = np.maximum(top, 0) / under
    chi2 = (w * (f - amplitude[..., np.newaxis] * m) ** 2).sum(axis=2)
    norm = np.sqrt(w / w[:1]).prod(axis=1)
    joint = np.exp(-(chi2 - chi2.min()) / 2) * prior * norm
    return joint.sum(axis=0) / joint.sum(), chi2


@pytest.mark.parametrize("snr", [5.0, 50.0, 2000.0])
def test_kernel_is_brute_force(models, snr):
    flux, error, _, _ = drawn(models, 40, snr)
    flux[3, 2], flux[5, [0, 5]] = np.nan, np.nan  # missing bands
    flux[7] = -np.abs(flux[7])  # nothing but negative fluxes
    flux[9, 0], error[9, 0] = 0.0, 0.3  # an upper limit
    flux[11, 1:], flux[13] = np.nan, np.nan  # one band, none
    flux[15] *= 1e-6  # another unit
    error[15] *= 1e-6
    error2 = np.linspace(0.0, 0.003, GRID.n)[:, np.newaxis] * np.ones(6)
    table = PriorTable.make(MagnitudePrior(), templates().types, GRID.z)
    rows = table.rows(np.linspace(19, 26, 40))
    packed = pack(models.flux, np.sqrt(error2), table.prior_class)
    found = template_kernel.fit(packed, flux, error**2, table.values, rows)
    for k in set(range(40)) - {13}:
        prior = table.values[rows[k]][table.prior_class].astype(np.float64)
        density, chi2 = brute_force(models, flux[k], error[k] ** 2, error2, prior)
        np.testing.assert_allclose(found.density[k], density, atol=1e-4 * density.max())
        mode = int(np.argmax(density))
        assert found.chi2[k] == pytest.approx(
            chi2[found.template[k], found.density[k].argmax()], rel=1e-3, abs=1e-3
        )
        assert abs(int(found.density[k].argmax()) - mode) <= 1
    assert np.isnan(found.density[13]).all()
    assert found.template[13] == -1


def test_kernel_has_blocks_for_long_grids(monkeypatch):
    monkeypatch.setattr(packed_models, "LONGEST_LOOP", 160)
    grid = RedshiftGrid(0.0, 1.5, 0.005)  # 301 redshifts: two blocks
    models = model_grid(templates(), FILTERS, grid)
    flux, error, _, _ = drawn(models, 5)
    table = PriorTable.make(None, templates().types, grid.z)
    packed = pack(models.flux, np.zeros((grid.n, 6)), table.prior_class)
    assert packed.flux.shape[1] == 2
    found = template_kernel.fit(packed, flux, error**2, table.values, table.rows(np.full(5, np.nan)))
    for k in range(5):
        density, _ = brute_force(models, flux[k], error[k] ** 2, np.zeros((grid.n, 6)), 1.0)
        np.testing.assert_allclose(found.density[k], density, atol=1e-4 * density.max())


def test_models_are_integrals_of_spectra(models):
    spectra = templates().spectra
    for t, place in product((0, 3), (0, 40, 150)):
        z = GRID.z[place]
        moved = Spectrum("moved", spectra[t].wavelength * (1 + z), spectra[t].flux)
        direct = np.array([synthetic_flux(moved, curve) for curve in FILTERS])
        ratio = models.flux[t, place] / direct
        np.testing.assert_allclose(ratio[1:] / ratio[3], 1.0, rtol=3e-3)  # u is within the hydrogen at 1.5
    np.testing.assert_allclose(models.flux.mean(axis=(1, 2)), 1.0, rtol=1e-4)


def test_drawn_galaxies_come_back(fit, models):
    flux, error, template, place = drawn(models, 400)
    found = fit.estimate(catalog(flux, error), pdf_step=0.02)
    dz = (found["z_phot"] - GRID.z[place]) / (1 + GRID.z[place])
    assert 1.4826 * np.median(np.abs(dz)) < 0.01
    assert (np.abs(dz) > 0.05).mean() < 0.02
    assert (found["template"] == np.array(fit.names)[template]).mean() > 0.9
    assert np.median(found["chi2"]) == pytest.approx(4.0, abs=1.5)  # 6 bands less amplitude and redshift
    inside = (found["z_lo68"] <= GRID.z[place]) & (GRID.z[place] <= found["z_hi68"])
    assert 0.6 < inside.mean() < 0.85
    np.testing.assert_allclose(found["pdf"].sum(axis=1) * 0.02, 1.0, rtol=1e-4)
    assert (found["photoz_flags"] & PhotozFlag.NOT_CALIBRATED > 0).all()


def test_order_and_blocks_do_not_matter(fit, models, monkeypatch):
    flux, error, _, _ = drawn(models, 60)
    whole = fit.estimate(catalog(flux, error))
    monkeypatch.setattr("astrolake.photoz.template_fit.BLOCK", 7)
    back = fit.estimate(catalog(flux[::-1], error[::-1]))
    for name in ("z_phot", "chi2", "template", "photoz_flags"):
        np.testing.assert_array_equal(whole[name], back[name][::-1])


def test_nothing_observed_and_bad_values_are_flagged(fit, models):
    flux, error, _, _ = drawn(models, 30)
    flux[0] = np.nan
    error[1, 2] = -1.0
    flux[2, 1:] = np.nan
    flux[3] = -flux[3]
    found = fit.estimate(catalog(flux, error))
    flags = found["photoz_flags"]
    assert flags[0] & PhotozFlag.NO_ESTIMATE
    assert np.isnan(found["z_phot"][0])
    assert found["template"][0] is None
    assert flags[1] & PhotozFlag.BAD_INPUT
    assert found["n_bands"][1] == 5
    assert flags[2] & PhotozFlag.FEW_BANDS
    assert flags[3] & PhotozFlag.POOR_FIT
    assert np.isfinite(found["z_phot"][1:]).all()
    assert len(fit.estimate({k: v[:0] for k, v in catalog(flux, error).items()})["z_phot"]) == 0


def test_catalogs_that_do_not_fit(fit, models):
    flux, error, _, _ = drawn(models, 30)
    columns = catalog(flux, error)
    with pytest.raises(MissingColumns, match="flux_y"):
        fit.estimate({k: v for k, v in columns.items() if k != "flux_y"})
    mags = tuple(BandColumns(b, f"flux_{b}", f"err_{b}") for b in BANDS)
    with pytest.raises(BadInput, match="does not hold AB magnitudes"):
        replace(fit, columns=mags).estimate({k: v * 1e4 for k, v in columns.items()})
    with pytest.raises(BadArguments, match="filters of"):
        TemplateFit.make(templates(), FILTERS[::-1], COLUMNS, GRID)
    with pytest.raises(BadArguments, match="give floor"):
        TemplateFit.make(templates(), FILTERS, [replace(c, error=None) for c in COLUMNS], GRID)
    for floor in (-1.0, np.nan):
        with pytest.raises(BadArguments, match=f"floor {floor}"):
            TemplateFit.make(templates(), FILTERS, COLUMNS, GRID, floor=floor)
    short = [replace(FILTERS[5], wavelength=FILTERS[5].wavelength * 4)]
    with pytest.raises(BadInput, match="needs spectra up to"):
        model_grid(templates(), short, GRID)


def test_zero_points_are_found(models):
    flux, error, _, place = drawn(models, 500, snr=30.0)
    wrong = np.array([1.1, 1.0, 0.95, 1.0, 1.0, 0.9])
    photometry = Photometry.from_fluxes(flux * wrong, error * wrong, BANDS)
    found = calibrate(models, photometry, place, 0.02)
    corrected = found.factor * wrong
    np.testing.assert_allclose(corrected / np.median(corrected), 1.0, atol=0.015)
    np.testing.assert_array_equal(found.n, 500)
    with pytest.raises(BadInput, match="zero points need 50"):
        calibrate(models, photometry[:10], place[:10], 0.02)
    unit = np.array([1, 1, 1, 1, 1, 100])
    other = Photometry.from_fluxes(flux * unit, error * unit, BANDS)
    with pytest.raises(BadInput, match="multiplied by"):
        calibrate(models, other, place, 0.02)


def test_calibration_makes_probabilities_true(fit, models):
    flux, error, _, place = drawn(models, 1200, snr=12.0)
    wrong = np.array([1.05, 1.0, 0.97, 1.0, 1.0, 0.96])
    columns, z = catalog(flux * wrong, error * wrong * 0.5), GRID.z[place]  # errors half of what they are
    jitter = np.random.default_rng(2).uniform(-0.005, 0.005, len(z))
    train, test = slice(0, 800), slice(800, None)
    cut = lambda part: {name: values[part] for name, values in columns.items()}  # noqa: E731
    learned = fit.calibrated(cut(train), z[train] + jitter[train], provenance={"table": "specz"})
    assert learned.provenance["n_train"] == 800
    assert learned.provenance["table"] == "specz"
    pit = np.sort(pdf.cdf_at(learned.density(cut(test)), GRID, z[test] + jitter[test]))
    assert np.abs(pit - np.linspace(0, 1, len(pit))).max() < 0.09
    found = learned.estimate(cut(test))
    inside = (found["z_lo68"] <= z[test]) & (z[test] <= found["z_hi68"])
    assert 0.6 < inside.mean() < 0.76
    assert not (found["photoz_flags"] & PhotozFlag.NOT_CALIBRATED).any()
    again = TemplateFit.from_bytes(learned.to_bytes())
    assert again.version == learned.version
    for name, values in again.estimate(cut(test)).items():
        np.testing.assert_array_equal(values, found[name])


def test_file_of_a_fit(fit, tmp_path):
    fit.save(tmp_path / "fit.photoz")
    assert TemplateFit.load(tmp_path / "fit.photoz").names == fit.names
    content = (tmp_path / "fit.photoz").read_bytes()
    (tmp_path / "pickle").write_bytes(b"\x80\x04\x95cos\nsystem\n.")
    for path, message in ((tmp_path / "pickle", "no photo-z model"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(BadInput, match=message):
            TemplateFit.load(path)
    with pytest.raises(BadInput):
        TemplateFit.from_bytes(content[: len(content) // 2])
    kind, manifest, arrays = artifact.from_bytes(content, "it")
    for name in ("types", "template_error", "factor", "floor"):
        short = artifact.to_bytes(kind, manifest, arrays | {name: arrays[name][:-1]})
        with pytest.raises(BadInput, match=f"it is not whole .*{name} of shape"):
            TemplateFit.from_bytes(short, "it")


def test_absolute_magnitudes_do_not_depend_on_distance(fit, models):
    from astropy.cosmology import Planck18

    spectrum = templates().spectra[1]
    rest = np.array([synthetic_flux(spectrum, curve) for curve in FILTERS])
    absolute = 23.9 - 2.5 * np.log10(rest)  # of the spectrum as it is at 10 pc
    for z in (0.2, 0.6):
        # f(l) = L(l / (1 + z)) / ((1 + z) 4 pi D^2)
        far = (10.0 / Planck18.luminosity_distance(z).to_value("pc")) ** 2 / (1 + z) * 1e12
        moved = Spectrum("far", spectrum.wavelength * (1 + z), spectrum.flux * far)
        flux = np.array([[synthetic_flux(moved, curve) for curve in FILTERS]])
        found = fit.estimate(catalog(flux, flux / 100), absolute=True)
        assert found["z_mode"][0] == pytest.approx(z, abs=0.01)
        got = np.array([found[f"mag_abs_{b}"][0] for b in BANDS])
        np.testing.assert_allclose(got + 2.5 * 12, absolute, atol=0.03)
        seen = 23.9 - 2.5 * np.log10(flux[0]) - got - Planck18.distmod(z).value
        np.testing.assert_allclose([found[f"kcorr_{b}"][0] for b in BANDS], seen, atol=0.05)


def test_prior_of_benitez():
    prior = MagnitudePrior()
    np.testing.assert_allclose(prior.type_fractions([20.0, 22.0])[0], [0.35, 0.5, 0.15])
    np.testing.assert_allclose(prior.type_fractions([22.0])[0, 0], 0.35 * np.exp(-0.9))
    p = prior.redshifts(GRID.z, [21.0, 24.0])
    np.testing.assert_allclose(p.sum(axis=2), 1.0)
    # The mode of z^a exp(-(z / zm)^a) is at zm.
    assert GRID.z[p[0, 0].argmax()] == pytest.approx(0.431 + 0.0913, abs=0.01)
    assert (p[1] @ GRID.z > p[0] @ GRID.z).all()
    table = PriorTable.make(prior, templates().types, GRID.z)
    assert table.rows([np.nan, 10.0, 20.0, 99.0]).tolist()[:3] == [len(table.values) - 1, 0, 0]
    assert table.rows([99.0])[0] == len(table.values) - 2
    assert (table.values[-1] == 1).all()


def test_prior_is_learned():
    truth = MagnitudePrior(m0=18.0)
    rng = np.random.default_rng(8)
    mag = rng.uniform(18, 24, 3000)
    kind = np.array([rng.choice(3, p=p) for p in truth.type_fractions(mag)])
    z = np.linspace(0.005, 6, 600)
    shapes = truth.redshifts(z, mag)[np.arange(3000), kind]
    drawn_z = z[
        [int(np.searchsorted(np.cumsum(p), u)) for p, u in zip(shapes, rng.random(3000), strict=True)]
    ]
    learned = MagnitudePrior.learn(drawn_z, mag, np.eye(3)[kind], m0=18.0)
    np.testing.assert_allclose(learned.type_fractions([19, 23]), truth.type_fractions([19, 23]), atol=0.05)
    for m in (19.0, 23.0):
        mean = [p.redshifts(z, [m])[0] @ z for p in (learned, truth)]
        np.testing.assert_allclose(mean[0], mean[1], rtol=0.12)
    assert MagnitudePrior.from_json(learned.to_json()) == learned
    with pytest.raises(BadInput, match="100 galaxies at least"):
        MagnitudePrior.learn(drawn_z[:10], mag[:10], np.eye(3)[kind[:10]])


def test_template_error_of_wavelength(tmp_path):
    pivots, z = np.array([5000.0, 8000.0]), np.array([0.0, 1.0])
    curve = ([2000.0, 6000.0], [0.2, 0.0])
    np.testing.assert_allclose(template_error(curve, pivots, z), [[0.05, 0.0], [0.175, 0.1]])
    np.savetxt(tmp_path / "error.dat", np.column_stack(curve))
    np.testing.assert_allclose(template_error(tmp_path / "error.dat", pivots, z)[0], [0.05, 0.0])
    with pytest.raises(BadArguments, match="0 and more"):
        template_error(-0.1, pivots, z)


def _write_cache(folder):
    return float(model_grid(templates(), FILTERS, RedshiftGrid(0.0, 0.2, 0.05), cache=folder).flux.sum())


def test_cache_is_by_content_and_safe_for_writers(tmp_path):
    grid = RedshiftGrid(0.0, 0.2, 0.05)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        sums = pool.map(_write_cache, [tmp_path] * 3)
    assert len(set(sums)) == 1
    (file,) = tmp_path.iterdir()
    before = content_hash(templates(), FILTERS, grid, "inoue2014")
    assert before[:24] in file.name
    assert content_hash(templates(), FILTERS, grid, "madau1995") != before
    assert content_hash(templates().interpolated(1), FILTERS, grid, "inoue2014") != before
    file.write_bytes(b"cut short")
    assert _write_cache(tmp_path) == sums[0]


@pytest.mark.data
def test_deep2_rows_against_bpz(survey_data):
    try:
        importlib.metadata.distribution("pz-rail-base")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("pz-rail-base is not installed: no CWW+SB templates")

    rows = np.loadtxt(survey_data / "photoz/bpz_catalog.cat")
    bpz = np.loadtxt(survey_data / "photoz/cwwsb4_photoz.bpz")
    assert (rows[:, 0] == bpz[:, 0]).all()
    bands = ("u", "g", "r", "i2", "i", "z", "y")
    files = {b: f"{b}_{'subaru' if b == 'y' else 'megacam'}" for b in bands}
    columns = {f"mag_{b}": rows[:, 1 + 2 * k] for k, b in enumerate(bands)}
    columns |= {f"err_{b}": rows[:, 2 + 2 * k] for k, b in enumerate(bands)}
    fit = TemplateFit.make(
        load_templates("cww").interpolated(2),
        load_filters(survey_data / "photoz/filters", bands, files),
        [BandColumns(b, f"mag_{b}", f"err_{b}") for b in bands],
        RedshiftGrid(0.0, 3.5, 0.02),
        prior=MagnitudePrior(),
        prior_band="i",
    )
    z, turn = rows[:, 15], np.arange(len(rows)) % 4
    train, test = turn == 0, turn == 1
    trained = fit.calibrated({k: v[train] for k, v in columns.items()}, z[train], learn_prior=False)
    found = trained.estimate({k: v[test] for k, v in columns.items()})
    ours, theirs = (_scatter(p, z[test]) for p in (found["z_phot"], bpz[test, 1]))
    assert theirs == pytest.approx((0.040, 0.088), abs=0.005)
    assert ours[0] < 0.035
    assert ours[1] < 0.060
    plain = fit.estimate({k: v[test] for k, v in columns.items()})
    assert _scatter(plain["z_phot"], z[test])[1] < theirs[1]  # before anything is calibrated


@pytest.mark.data
def test_boss_with_zero_points(survey_data):
    pytest.importorskip("speclite")
    try:
        importlib.metadata.distribution("pz-rail-base")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("pz-rail-base is not installed: no COSMOS templates")
    rows = np.loadtxt(survey_data / "photoz/boss_dr10_0.csv", delimiter=",", skiprows=1)
    columns = {f"mag_{b}": rows[:, 2 * k] for k, b in enumerate("ugriz")}
    columns |= {f"err_{b}": rows[:, 2 * k + 1] for k, b in enumerate("ugriz")}
    bands = [BandColumns(b, f"mag_{b}", f"err_{b}") for b in "ugriz"]
    filters = load_filters("sdss", "ugriz")
    grid = RedshiftGrid(0.0, 1.2, 0.01)
    fit = TemplateFit.make(load_templates("cosmos"), filters, bands, grid, prior=MagnitudePrior())
    z, turn = rows[:, 10], np.arange(len(rows)) % 3
    train, test = turn == 0, turn == 1
    trained = fit.calibrated({k: v[train] for k, v in columns.items()}, z[train])
    density = trained.density({k: v[test] for k, v in columns.items()})
    scatter, outliers = _scatter(pdf.summarise(density, grid)["z_phot"], z[test])
    assert scatter < 0.032
    assert outliers < 0.035
    pit = np.sort(pdf.cdf_at(density, grid, z[test]))
    assert np.abs(pit - np.linspace(0, 1, len(pit))).max() < 0.06


def _scatter(z_phot, z):
    dz = (z_phot - z) / (1 + z)
    return 1.4826 * np.median(np.abs(dz - np.median(dz))), (np.abs(dz) > 0.15).mean()


def test_template_errors_that_depend_on_redshift_count_in_the_norm_of_the_likelihood():
    """Else redshifts at which templates are least trusted would fit best, and win."""
    models = np.ones((1, 40, 3), dtype=np.float32)
    error = np.zeros((40, 3))
    error[20:] = 0.2
    flux, sigma = np.array([[1.0, 1.05, 0.95]]), 0.05
    packed = pack(models, error, np.zeros(1, dtype=np.int64))
    prior = np.ones((1, 1, 40), dtype=np.float32)
    found = template_kernel.fit(packed, flux, np.full((1, 3), sigma**2), prior, np.zeros(1, dtype=np.int64))
    spread = np.sqrt(sigma**2 + (error * flux) ** 2)
    weight = spread**-2
    scale = (weight * flux).sum(axis=1) / weight.sum(axis=1)
    chi2 = (((flux - scale[:, np.newaxis]) / spread) ** 2).sum(axis=1)
    expected = np.exp(-chi2 / 2) / spread.prod(axis=1)
    np.testing.assert_allclose(found.density[0], expected / expected.sum(), rtol=1e-4)
    assert found.density[0, 0] > 10 * found.density[0, -1]


def test_bands_without_errors_are_calibrated_by_the_floor():
    rng = np.random.default_rng(8)
    spectra = templates()
    grid = RedshiftGrid(0.0, 1.0, 0.02)
    bands = [BandColumns(b.band, f"mag_{b.band}", None) for b in FILTERS]
    fit_ = TemplateFit.make(spectra, FILTERS, bands, grid, floor=0.05)
    place, kind = rng.integers(5, 45, 400), rng.integers(0, len(spectra), 400)
    flux = fit_.models.flux[kind, place] * 100 * rng.normal(1, 0.03, (400, len(bands)))
    columns = {b.value: 23.9 - 2.5 * np.log10(flux[:, k]) for k, b in enumerate(bands)}
    fitted = fit_.calibrated(columns, grid.z[place], learn_prior=False)
    assert np.abs(fitted.factor - 1).max() < 0.03


@pytest.mark.parametrize("snr", [1e5, 1e6])
def test_densities_are_exact_at_any_signal_to_noise(models, snr):
    """Single precision has lost chi2 as a difference of sums long before."""
    flux, _, _, _ = drawn(models, 30, 300.0)
    # templates are not that good: chi2 of 1e5 and more, which differ little from redshift to redshift
    error = np.abs(flux) / snr
    table = PriorTable.make(None, templates().types, GRID.z)
    packed = pack(models.flux, np.zeros((GRID.n, 6)), table.prior_class)
    found = template_kernel.fit(packed, flux, error**2, table.values, np.zeros(30, dtype=np.int64))
    for k in range(30):
        density, chi2 = brute_force(models, flux[k], error[k] ** 2, np.zeros((GRID.n, 6)), 1.0)
        assert found.density[k].argmax() == density.argmax()
        assert found.chi2[k] == pytest.approx(chi2.min(), rel=1e-4)


@pytest.mark.parametrize("absurd", [1e12, 1e18, 1e20, 1e25, 1e30, 1e150])
def test_absurd_fluxes_and_errors_leave_the_other_bands_alone(models, absurd):
    """Fill values such as 1e20 are beyond single precision beside a flux of 1."""
    flux, error, _, _ = drawn(models, 4, 10.0)
    table = PriorTable.make(None, templates().types, GRID.z)
    packed = pack(models.flux, np.zeros((GRID.n, 6)), table.prior_class)
    none = np.zeros(4, dtype=np.int64)
    without = flux.copy()
    without[:, 3] = np.nan
    expected = template_kernel.fit(packed, without, error**2, table.values, none)
    flux[:, 3], error[:, 3] = absurd, absurd
    found = template_kernel.fit(packed, flux, error**2, table.values, none)
    np.testing.assert_allclose(found.density, expected.density, atol=1e-3 * expected.density.max())
    np.testing.assert_array_equal(found.template, expected.template)
    # and an error of nothing is no more than single precision can tell
    flux[:, 3], error[:, 3] = without[:, 2], without[:, 2] / absurd
    found = template_kernel.fit(packed, flux, error**2, table.values, none)
    assert np.isfinite(found.density).all()
    np.testing.assert_allclose(found.density.sum(axis=1), 1, rtol=1e-5)


def test_a_norm_may_outweigh_any_chi2(models):
    """Errors of 0.5 in place of 1e-4 in 6 bands are a factor of 1e-22, beyond what chi2 alone would leave out."""
    error = np.full((GRID.n, 6), 1e-4)
    error[75:] = 0.5
    flux = models.flux[:1, 40].astype(np.float64) * (1 + 4e-4 * np.array([1, -1, 1, 1, -1, -1]))
    variance = (1e-5 * flux) ** 2
    table = PriorTable.make(None, templates().types, GRID.z)
    packed = pack(models.flux, error, table.prior_class)
    found = template_kernel.fit(packed, flux, variance, table.values, np.zeros(1, dtype=np.int64))
    density, chi2 = brute_force(models, flux[0], variance[0], error**2, 1.0)
    assert chi2[:, :75].min() > chi2.min() + 60
    assert 0.5 < density[:75].sum() < 0.9
    np.testing.assert_allclose(found.density[0], density, atol=3e-3 * density.max())
    assert found.chi2[0] == pytest.approx(chi2[found.template[0], density.argmax()], rel=1e-2)
