import warnings

from astropy.io import fits
from fits_files import cards

from astrolake.photometry.headers import HeaderCards, card_value, silence


def test_own_cards_win_over_inherited_ones():
    own, inherited = fits.Header([("GAIN", 2.0)]), fits.Header([("GAIN", 1.0), ("EXPTIME", 30.0)])
    both = HeaderCards(own, inherited)
    assert (both.number("GAIN"), both.number("EXPTIME")) == (2.0, 30.0)


def test_numbers_may_be_written_as_text():
    assert cards(EXPTIME="53.907456").number("EXPTIME") == 53.907456


def test_a_number_that_is_not_finite_is_missing():
    assert cards(SEEING="NaN", FWHM=4.5).number("SEEING", "FWHM") == 4.5


def test_a_logical_is_no_number():
    assert cards(GAIN=True).number("GAIN") is None


def test_text_is_stripped_and_empty_text_is_missing():
    assert cards(FILTER="   ", BAND=" r ").text("FILTER", "BAND") == "r"


def test_keys_longer_than_eight_characters_are_found():
    header = fits.Header.fromstring("HIERARCH CELL.GAIN =  1.071877 / CCD gain".ljust(80))
    assert HeaderCards(header).number("CELL.GAIN") == 1.071877


def test_a_card_that_cannot_be_parsed_counts_as_missing():
    header = fits.Header.fromstring(
        "EXPTIME = 'no closing quote".ljust(80) + "GAIN    =                  2.0".ljust(80)
    )
    assert (card_value(header, "EXPTIME"), card_value(header, "GAIN")) == (None, 2.0)


def test_silence_keeps_warnings_back(recwarn):
    with silence():
        warnings.warn("from astropy", UserWarning, stacklevel=1)
    assert not recwarn.list
