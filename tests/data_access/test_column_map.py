"""Which columns are position and identifier, and what all columns are called."""

import pyarrow as pa
import pytest

from astrolake.data_access.column_map import guess_positions, lake_name, resolve_columns
from astrolake.errors import BadArguments, MissingColumns


def schema(**types):
    """Columns by name; a value is a type, or a pair of unit and UCD for float64."""
    fields = []
    for name, kind in types.items():
        if isinstance(kind, tuple):
            fields.append(pa.field(name, pa.float64(), metadata={"unit": kind[0], "ucd": kind[1]}))
        else:
            fields.append(pa.field(name, kind))
    return pa.schema(fields)


F, K, S = pa.float64(), pa.int64(), pa.string()


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        ("ra", "dec"),
        ("RA", "DEC"),
        ("RAJ2000", "DEJ2000"),
        ("_RAJ2000", "_DEJ2000"),
        ("RA_ICRS", "DE_ICRS"),
        ("raMean", "decMean"),
        ("ra_deg", "dec_deg"),
        ("ALPHA_J2000", "DELTA_J2000"),
        ("ALPHAWIN_J2000", "DELTAWIN_J2000"),
        ("alpha", "delta"),
        ("Right Ascension", "Declination"),
        ("candidate_ra", "candidate_dec"),
        ("TARGET_RA", "TARGET_DEC"),
        ("coord.ra", "coord.dec"),
    ],
)
def test_common_names_of_positions(ra, dec):
    found = resolve_columns(pa.schema([("x", F), (ra, F), (dec, F)]))
    assert (found.ra, found.dec) == (ra, dec)


def test_both_columns_come_from_one_pair_of_names():
    found = resolve_columns(schema(ra=F, RAJ2000=F, DEJ2000=F))
    assert (found.ra, found.dec) == ("RAJ2000", "DEJ2000")


def test_numeric_columns_go_before_sexagesimal_ones():
    found = resolve_columns(schema(RAJ2000=S, DEJ2000=S, ra_deg=F, dec_deg=F))
    assert (found.ra, found.dec) == ("ra_deg", "dec_deg")


def test_main_ucds_go_before_names():
    columns = schema(ra=F, dec=F, lon=("deg", "pos.eq.ra;meta.main"), lat=("deg", "pos.eq.dec;meta.main"))
    found = resolve_columns(columns)
    assert (found.ra, found.dec) == ("lon", "lat")


def test_errors_of_the_main_position_are_not_the_position():
    columns = schema(
        e=("deg", "stat.error;pos.eq.ra;meta.main"), f=("deg", "pos.eq.dec;meta.main"), ra=F, dec=F
    )
    assert resolve_columns(columns).ra == "ra"


def test_given_names_go_before_all_and_ignore_case():
    found = resolve_columns(schema(ra=F, dec=F, LON=F, lat=F), ra="lon", dec="LAT")
    assert (found.ra, found.dec) == ("LON", "lat")


def test_missing_positions_are_named_with_the_columns_there_are():
    with pytest.raises(MissingColumns, match=r"\['dec', 'ra'\].*\['b', 'l'\]"):
        resolve_columns(schema(l=F, b=F))


def test_a_given_name_that_does_not_exist_is_refused():
    with pytest.raises(MissingColumns, match="lon"):
        resolve_columns(schema(ra=F, dec=F), ra="lon")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("source_id", K), ("objID", K), ("OBJID", S), ("object_id", pa.int32()), ("designation", S), ("id", K)],
)
def test_common_names_of_identifiers(name, kind):
    assert resolve_columns(pa.schema([("ra", F), ("dec", F), (name, kind)])).id == name


def test_the_main_identifier_by_ucd_goes_before_names():
    main = pa.field("star", K, metadata={"ucd": "meta.id;meta.main"})
    assert resolve_columns(pa.schema([("ra", F), ("dec", F), ("source_id", K), main])).id == "star"


def test_identifiers_that_lost_digits_are_not_guessed():
    assert resolve_columns(schema(objid=F, ra=F, dec=F)).id is None


def test_an_identifier_given_as_float_is_refused():
    with pytest.raises(BadArguments, match="objid is double"):
        resolve_columns(schema(objid=F, ra=F, dec=F), id="objid")


@pytest.mark.parametrize(("name", "scope"), [("objid", ("brickid",)), ("ID", ("RUN", "CAMCOL", "FIELD"))])
def test_numbers_that_repeat_in_every_brick_or_field_are_no_identifiers(name, scope):
    columns = pa.schema([("ra", F), ("dec", F), (name, K), *((key, K) for key in scope)])
    assert resolve_columns(columns).id is None
    assert resolve_columns(columns, id=name).id == name


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("", 1),
        ("deg", 1),
        ("Degrees", 1),
        ("Angle[deg]", 1),
        ("rad", 57.29577951308232),
        ("h", 15),
        ("hourangle", 15),
    ],
)
def test_declared_units_of_right_ascension(unit, factor):
    found = resolve_columns(schema(ra=(unit, ""), dec=("deg", "")))
    assert found.ra_factor == factor
    assert found.dec_factor == 1


def test_a_unit_that_is_no_angle_is_refused_with_column_unit_and_remedy():
    with pytest.raises(BadArguments, match=r"column ra is in 'mag'.*must be in deg or rad"):
        resolve_columns(schema(ra=("mag", ""), dec=("deg", "")))


def test_declination_in_hours_is_refused():
    with pytest.raises(BadArguments, match="column dec is in 'h'"):
        resolve_columns(schema(ra=("h", ""), dec=("h", "")))


@pytest.mark.parametrize("kind", [S, pa.list_(F)])
def test_positions_that_are_no_numbers_are_refused_with_a_remedy(kind):
    with pytest.raises(BadArguments, match=r"column ra is .*convert sexagesimal"):
        resolve_columns(schema(ra=kind, dec=kind))


def test_resolved_columns_of_lake_names_are_not_repeated():
    found = resolve_columns(schema(SOURCE_ID=K, RA=F, Dec=F, mag=F))
    assert found.extra == (("mag", "mag"),)


def test_resolved_columns_of_other_names_are_kept():
    found = resolve_columns(schema(objID=K, raMean=F, decMean=F))
    assert [name for name, _ in found.extra] == ["objID", "raMean", "decMean"]


def test_converted_positions_are_kept_as_they_were():
    found = resolve_columns(schema(ra=("rad", ""), dec=("rad", "")))
    assert found.extra == (("ra", "input_ra"), ("dec", "input_dec"))


def test_lake_names_of_other_columns_get_a_prefix():
    columns = pa.schema(
        [("ra", F), ("dec", F), ("lon", F), ("lat", F), ("Norder", K), ("_healpix_29", K), ("RUN_ID", S)]
    )
    extra = dict(resolve_columns(columns, ra="lon", dec="lat").extra)
    assert extra["ra"] == "input_ra"
    assert extra["Norder"] == "input_Norder"
    assert extra["_healpix_29"] == "input__healpix_29"
    assert extra["RUN_ID"] == "input_RUN_ID"


def test_columns_that_get_one_name_are_refused_with_both():
    with pytest.raises(BadArguments, match=r"'N\(m\)' and 'n m' both become 'n_m'"):
        resolve_columns(pa.schema([("ra", F), ("dec", F), ("N(m)", F), ("n m", F)]))


@pytest.mark.parametrize(
    ("name", "lake"),
    [
        ("mag_g", "mag_g"),
        ("_RAJ2000", "_RAJ2000"),
        ("N(m)", "N_m"),
        ("B-V", "B_V"),
        ("é", "e"),
        ("F:MAG", "F_MAG"),
        ("%", "column"),
    ],
)
def test_names_hold_letters_digits_and_underscores(name, lake):
    assert lake_name(name) == lake


def test_guess_positions_says_which_is_missing():
    assert guess_positions(["lon", "b"], ra="LON", dec="lat") == ("lon", None)
