import numpy as np
import pytest

from astrolake.errors import BadArguments
from astrolake.sky.extinction import (
    COEFFICIENTS,
    dereddened,
    extinction_coefficient,
    extinction_per_sfd,
    fitzpatrick99,
)

#: Effective wavelengths in A, from the surveys' own papers.
EFFECTIVE = {
    "sdss": {"u": 3551, "g": 4686, "r": 6166, "i": 7480, "z": 8932},
    "panstarrs": {"g": 4866, "r": 6215, "i": 7545, "z": 8679, "y": 9633},
    "des": {"g": 4825, "r": 6432, "i": 7826, "z": 9179, "Y": 9900},
    "twomass": {"J": 12350, "H": 16620, "Ks": 21590},
}


def test_the_anchors_of_the_paper():
    """Fitzpatrick 1999, Table 3."""
    wavelength = [26500, 12200, 6000, 5470, 4670, 4110, 2700, 2600]
    published = [0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591]
    np.testing.assert_allclose(fitzpatrick99(wavelength), published, atol=6e-4)


@pytest.mark.parametrize("r_v", [2.1, 3.1, 5.1])
@pytest.mark.filterwarnings("ignore:x has no units")
def test_the_law_of_dust_extinction(r_v):
    averages = pytest.importorskip("dust_extinction.parameter_averages")
    x = np.linspace(0.31, 9.9, 400)
    np.testing.assert_allclose(fitzpatrick99(1e4 / x, r_v), averages.F99(Rv=r_v)(x) * r_v, rtol=1e-12)


def test_nothing_is_known_beyond_the_lyman_limit():
    assert np.isnan(fitzpatrick99([500.0, np.nan])).all()
    with pytest.raises(BadArguments, match="r_v=0.5"):
        fitzpatrick99(5000.0, 0.5)


@pytest.mark.parametrize("survey", EFFECTIVE)
def test_published_coefficients_follow_from_the_law(survey):
    """Table 6 integrates the law over each band; at the effective wavelength it is the same within 4 %."""
    for band, wavelength in EFFECTIVE[survey].items():
        assert extinction_per_sfd(wavelength) == pytest.approx(COEFFICIENTS[survey][band], rel=0.04), band


def test_bands_of_other_surveys_go_by_their_name():
    assert extinction_coefficient("sdss", "r") == 2.285
    assert extinction_coefficient("hsc", "r") == 2.285
    assert extinction_coefficient("spitzer", "Ks") == 0.310
    assert np.isnan(extinction_coefficient("sdss", "F606W"))


def test_dereddened_magnitudes():
    mag = dereddened([20.0, np.nan, 20.0], [0.1, 0.1, np.nan], 2.285)
    np.testing.assert_allclose(mag, [19.7715, np.nan, np.nan])
