"""Pictures of photo-z quality: what they say of samples of known quality."""

import numpy as np
import pytest

from astrolake.errors import BadArguments, BadInput
from astrolake.visualization.photoz_pit import pit_picture
from astrolake.visualization.photoz_redshifts import number_picture, redshifts_picture
from astrolake.visualization.photoz_residuals import residuals_picture
from astrolake.visualization.photoz_sample import PhotozSample


@pytest.fixture(scope="module")
def sample():
    """A hundredth of the galaxies faint and far off; the others scatter by 0.02 (1 + z)."""
    rng = np.random.default_rng(3)
    z = rng.uniform(0.2, 1.8, 5000)
    far = np.arange(5000) < 50
    z_phot = z + (1 + z) * np.where(far, 0.3, 0.02 * rng.standard_normal(5000))
    grid = np.linspace(0, 2.5, 251)
    density = np.histogram(z_phot, np.append(grid - 0.005, 2.505))[0] / 5000 / 0.01
    mag = np.where(far, 25.5, rng.uniform(18, 24, 5000))
    return PhotozSample(z_phot, z, mag, "i (AB mag)", rng.uniform(size=5000), (grid, density))


def test_redshifts_tell_scatter_and_outliers(sample):
    drawing = redshifts_picture(sample)
    assert drawing.title == f"σ = {sample.scatter:.4f}, 1.0 % outliers, bias {sample.bias:+.4f}"
    assert sample.scatter == pytest.approx(0.0204, abs=0.001)
    assert drawing.caption.startswith("5,000 galaxies in cells of")


def test_counts_of_the_density_are_those_of_the_galaxies(sample):
    mesh = redshifts_picture(sample).figure.axes[0].collections[0]
    assert np.nansum(mesh.get_array()) == np.sum((sample.z_phot <= sample.z_limit) & (sample.z_phot >= 0))


def test_pit_of_true_densities(sample):
    inside = np.mean((sample.pit >= 0.16) & (sample.pit <= 0.84))
    title = pit_picture(sample).title
    assert title.startswith(f"The 68 % interval holds {100 * inside:.1f} % of the redshifts")
    assert float(title.split()[-1]) < 0.025


def test_residuals_name_the_bin_of_most_outliers(sample):
    drawing = residuals_picture(sample)
    assert drawing.title.startswith("1.0 % outliers, at most 12.0 % at magnitude 23.8")
    assert len(drawing.figure.axes) == 4


def test_residuals_without_magnitudes(sample):
    drawing = residuals_picture(PhotozSample(sample.z_phot, sample.z_spec))
    assert len(drawing.figure.axes) == 2
    assert "redshift" in drawing.title


def test_numbers_tell_the_mean_shift(sample):
    shift = np.average(sample.stacked[0], weights=sample.stacked[1]) - sample.z_spec.mean()
    assert f"{shift:+.4f}" in number_picture(sample).title


def test_what_is_missing_is_told(sample):
    bare = PhotozSample(sample.z_phot, sample.z_spec)
    with pytest.raises(BadInput, match="give `pit`"):
        pit_picture(bare)
    with pytest.raises(BadInput, match="give `stacked`"):
        number_picture(bare)
    with pytest.raises(BadInput, match="nothing to draw"):
        PhotozSample(np.array([np.nan]), np.array([0.5]))
    with pytest.raises(BadArguments, match="differ in length"):
        PhotozSample(sample.z_phot, sample.z_spec, mag=np.zeros(3))
