import importlib.metadata

import numpy as np
import pytest

from astrolake.errors import BadArguments, BadInput, MissingDependency
from astrolake.photoz import dust, igm
from astrolake.photoz import templates as module
from astrolake.photoz.sed_files import read_spectra, read_spectrum
from astrolake.photoz.templates import load_templates
from tests.photoz.templates_world import templates


def write(path, scale=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.linspace(1000, 20000, 200)
    np.savetxt(path, np.column_stack([wave / scale, 1 + wave / 1e4]))


def installed(package):
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_formats_of_lists(tmp_path):
    for name in ("seds/a.sed", "seds/b.sed"):
        write(tmp_path / name)
    write(tmp_path / "seds/micron.dat", 1e4)
    (tmp_path / "seds/bpz.list").write_text("b.sed\na.sed\n")
    assert [s.name for s in read_spectra(tmp_path / "seds")] == ["b", "a"]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/lephare.list").write_text("# of LePhare\nseds/a.sed  BC03\n")
    assert [s.name for s in read_spectra(tmp_path / "lists/lephare.list")] == ["a"]
    (tmp_path / "lists/eazy.param").write_text(
        "1 seds/a.sed 1.0 0 1.0\n2 seds/micron.dat 10000.0 0 1.0 # comment\n"
    )
    first, second = read_spectra(tmp_path / "lists/eazy.param")
    np.testing.assert_allclose(first.wavelength, second.wavelength)


def test_lists_and_spectra_that_are_none(tmp_path):
    with pytest.raises(BadInput, match="no spectra"):
        read_spectra(tmp_path)
    (tmp_path / "x.list").write_text("missing.sed\n")
    with pytest.raises(BadInput, match=r"names the template missing.sed"):
        read_spectra(tmp_path)
    (tmp_path / "back.sed").write_text("5000 1\n4000 1\n")
    with pytest.raises(BadInput, match="do not rise"):
        read_spectrum(tmp_path / "back.sed")


def test_directory_is_a_set(tmp_path):
    for name in ("a.sed", "b.sed"):
        write(tmp_path / name)
    loaded = load_templates(tmp_path, type_counts=(1, 0, 1))
    assert loaded.names == ("a", "b")
    assert loaded.types.tolist() == [[1, 0, 0], [0, 0, 1]]
    with pytest.raises(BadArguments, match="add up to 2"):
        load_templates(tmp_path, type_counts=(1, 1, 1))


def test_sets_that_are_not_there(monkeypatch):
    monkeypatch.setattr(module, "_installed", lambda package, path: None)
    for name, remedy in (("cosmos", "pz-rail-base"), ("cww", "desc-bpz"), ("sdss", "kcorrect")):
        with pytest.raises(MissingDependency, match=remedy):
            load_templates(name)
    with pytest.raises(MissingDependency, match="directory"):
        load_templates("pegase")
    with pytest.raises(BadArguments, match=r"'nonsense'.*cosmos, cww, sdss, pegase"):
        load_templates("nonsense")


def test_cww_of_galsim(monkeypatch):
    if not installed("galsim"):
        pytest.skip("galsim is not installed")
    real = module._installed
    monkeypatch.setattr(module, "_installed", lambda p, f: real(p, f) if p == "galsim" else None)
    loaded = load_templates("cww")
    assert loaded.names == ("CWW_E_ext", "CWW_Sbc_ext", "CWW_Scd_ext", "CWW_Im_ext")
    blueness = [module._blueness(s) for s in loaded.spectra]
    assert blueness == sorted(blueness)
    np.testing.assert_array_equal(module._types_from_colours(loaded.spectra), loaded.types)


def test_cosmos_of_installed_files():
    if not installed("pz-rail-base"):
        pytest.skip("pz-rail-base is not installed (its files are optional)")
    loaded = load_templates("cosmos")
    assert len(loaded) == 31
    assert loaded.types.sum(axis=0).tolist() == [10, 5, 16]
    assert len(load_templates("cosmos", n_templates=30)) == 30
    assert len(load_templates("cww")) == 8


def test_fewer_are_picked_and_more_are_mixed():
    four = templates()
    assert four.resized(2).names == ("t0", "t3")
    seven = four.interpolated(1)
    assert len(seven) == 7
    assert seven.names[::2] == four.names
    assert four.resized(7).names == seven.names
    at = four.spectra[0].wavelength
    mean = (four.spectra[0].flux + four.spectra[1].flux) / 2
    np.testing.assert_allclose(
        np.interp(at, seven.spectra[1].wavelength, seven.spectra[1].flux), mean, rtol=1e-9
    )
    np.testing.assert_allclose(seven.types[1], [0.5, 0.5, 0])
    np.testing.assert_allclose(seven.types.sum(axis=1), 1)


def test_dust_reddens_from_a_template_on():
    dusty = templates().reddened([0.0, 0.2, 0.4], "calzetti", first=2)
    assert len(dusty) == 8
    plain, behind = dusty.spectra[2], dusty.spectra[4]
    ratio = np.interp(5500.0, plain.wavelength, behind.flux / plain.flux)
    # k(V) = R_V = 4.05 for Calzetti's law
    assert -2.5 * np.log10(ratio) == pytest.approx(0.2 * 4.05, rel=0.01)
    with pytest.raises(BadArguments, match="colour excesses"):
        templates().reddened([-0.1])


def test_dust_laws_of_the_papers():
    k = dust.attenuation("calzetti", [1200.0, 1500.0, 4400.0, 5500.0, 22000.0])
    # Calzetti et al. 2000, eq. 4 by hand; E(B-V) = A(B) - A(V)
    assert k[1] == pytest.approx(2.659 * (-2.156 + 1.509 / 0.15 - 0.198 / 0.15**2 + 0.011 / 0.15**3) + 4.05)
    assert k[2] - k[3] == pytest.approx(1.0, abs=0.05)
    assert (np.diff(k) < 0).all()
    averages = pytest.importorskip("dust_extinction.averages")
    wave = np.array([1500.0, 2200.0, 3000.0, 4400.0, 6500.0, 9000.0])
    smc = dust.attenuation("smc", wave) / dust.attenuation("smc", 5500.0)
    # the bar of the SMC as Gordon et al. 2003 measured it later
    np.testing.assert_allclose(smc, averages.G03_SMCBar()(1e4 / wave), rtol=0.15)
    with pytest.raises(BadArguments, match="dust law"):
        dust.attenuation("grey", [5000.0])


@pytest.mark.parametrize("model", ["inoue2014", "madau1995"])
def test_hydrogen_takes_more_the_farther(model):
    rest = np.array([850.0, 1000.0, 1150.0, 1300.0])
    through = np.array([igm.transmission(model, rest, z) for z in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)])
    assert (through[0] == 1).all()
    assert (through[:, 3] == 1).all()
    assert (np.diff(through[:, :3], axis=0) < 0).all()


def test_hydrogen_of_the_papers():
    # Madau 1995, eq. 12: 0.0036 (l / 1215.67)^3.46 between Ly beta and alpha.
    x = 1100.0 * 4.5 / 1215.67
    through = igm.transmission("madau1995", np.array([1100.0]), 3.5)[0]
    assert through == pytest.approx(np.exp(-0.0036 * x**3.46), rel=1e-6)
    # Eq. 21 by hand for Ly alpha alone: 2.354e-3 (l / 1215.67)^3.7 and 1.617e-4 (..)^2, at z = 2, 1190 A.
    x = 1190.0 * 3 / 1215.67
    depth = 2.354e-3 * x**3.7 + 1.617e-4 * x**2
    assert igm.transmission("inoue2014", np.array([1190.0]), 2.0)[0] == pytest.approx(
        np.exp(-depth), rel=1e-4
    )
    with pytest.raises(BadArguments, match="IGM"):
        igm.transmission("meiksin", np.array([1000.0]), 2.0)
