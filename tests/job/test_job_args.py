import dataclasses
import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrolake.errors import BadArguments
from astrolake.job import JobArgs, flag
from astrolake.job.args import drop_glue_flags, parse_args, print_help


@dataclass(frozen=True, kw_only=True)
class Args(JobArgs):
    input: tuple[str, ...] = flag(help="files")
    tables: tuple[str, ...] = flag((), help="tables")
    radii_arcsec: tuple[float, ...] = flag((1.0, 2.0), help="radii")
    mode: str = flag("best", help="mode", choices=("best", "all"))
    radius_arcsec: float = flag(1.0, help="radius")
    n: int = flag(3, help="number")
    psf: bool = flag(True, help="fit the PSF")
    quick: bool = flag(False, help="be quick")

    def check(self) -> None:
        if self.radius_arcsec < 0:
            raise BadArguments("--radius-arcsec must not be negative")


REQUIRED = ("--lake", "/data/my lake", "--input", "a.fits")
GLUE = (
    "--JOB_NAME", "match", "--JOB_ID", "j_1", "--JOB_RUN_ID", "jr_1", "--TempDir", "s3://temp/dir",
    "--enable-metrics", "--enable-observability-metrics", "true", "--enable-glue-datacatalog", "true",
    "--job-bookmark-option", "job-bookmark-disable", "--job-language", "python",
    "--additional-python-modules", "s3://code/astrolake.gluewheels.zip",
    "--python-modules-installer-option", "--no-index", "--datalake-formats", "delta",
    "--conf", "spark.a=b", "--extra-py-files", "s3://code/x.zip", "--continuous-log-logGroup", "/aws/x",
)  # fmt: skip


def parse(*argv: str) -> Args:
    return parse_args(Args, argv, "match", "Match things.")


def parsed(*argv: str) -> Args:
    return parse(*REQUIRED, *argv)


def test_defaults_are_as_declared():
    args = parsed()
    assert (args.lake, args.input, args.tables) == ("/data/my lake", ("a.fits",), ())
    assert (args.radii_arcsec, args.mode, args.radius_arcsec, args.n) == ((1.0, 2.0), "best", 1.0, 3)
    assert (args.psf, args.quick, args.strict, args.max_rows) == (True, False, False, 1_000_000)


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (("--mode", "all"), "mode", "all"),
        (("--mode=all",), "mode", "all"),
        (("--radius-arcsec", "2.5"), "radius_arcsec", 2.5),
        (("--radius-arcsec", "1e-3"), "radius_arcsec", 1e-3),
        (("--n", "7"), "n", 7),
        (("--n", "-7"), "n", -7),
        (("--quick",), "quick", True),
        (("--quick", "true"), "quick", True),
        (("--quick", "True"), "quick", True),
        (("--quick", "1"), "quick", True),
        (("--quick", "yes"), "quick", True),
        (("--quick", ""), "quick", True),
        (("--quick=true",), "quick", True),
        (("--psf", "false"), "psf", False),
        (("--psf", "FALSE"), "psf", False),
        (("--psf", "0"), "psf", False),
        (("--psf", "no"), "psf", False),
        (("--tables", "a"), "tables", ("a",)),
        (("--tables", "a", "b c"), "tables", ("a", "b c")),
        (("--tables", '["a", "b c"]'), "tables", ("a", "b c")),
        (("--tables", '["a"]', "b"), "tables", ("a", "b")),
        (("--tables", "[]"), "tables", ()),
        (("--tables", "a", "--tables", "b", "c"), "tables", ("a", "b", "c")),
        (("--tables", "[ab]*.fits"), "tables", ("[ab]*.fits",)),
        (("--tables", "[1]"), "tables", ("[1]",)),
        (("--tables", '["a", 1]'), "tables", ('["a", 1]',)),
        (("--tables", "a,b"), "tables", ("a,b",)),
        (("--radii-arcsec", "1", "2.5"), "radii_arcsec", (1.0, 2.5)),
        (("--radii-arcsec", "1,2.5"), "radii_arcsec", (1.0, 2.5)),
        (("--radii-arcsec", "[1, 2.5]"), "radii_arcsec", (1.0, 2.5)),
        (("--radii-arcsec", "[]"), "radii_arcsec", ()),
        (("--max-rows", "5"), "max_rows", 5),
    ],
)
def test_each_kind_of_flag(argv, field, value):
    assert getattr(parsed(*argv), field) == value


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("--mode", "worst"), "--mode"),
        (("--n", "2.5"), "--n"),
        (("--n", "many"), "--n"),
        (("--n",), "--n"),
        (("--radius-arcsec", "wide"), "--radius-arcsec"),
        (("--radii-arcsec", "1,x"), "'1,x' is not a number"),
        (("--radii-arcsec",), "--radii-arcsec"),
        (("--quick", "maybe"), "'maybe' is neither true nor false"),
        (("--tables",), "--tables"),
        (("--max-rows", "0"), "--max-rows must be at least 1"),
        (("--radius-arcsec", "-1"), "--radius-arcsec must not be negative"),
    ],
)
def test_a_bad_value_is_named(argv, named):
    with pytest.raises(BadArguments, match=named):
        parsed(*argv)


@pytest.mark.parametrize("missing", ["--lake", "--input"])
def test_a_missing_flag_is_named(missing):
    at = REQUIRED.index(missing)
    with pytest.raises(BadArguments, match=missing):
        parse(*REQUIRED[:at], *REQUIRED[at + 2 :])


@pytest.mark.parametrize("unknown", ["--radius", "--max_rows", "--laке", "--lak", "--jobname", "--temp-dir"])
def test_an_unknown_flag_is_listed_beside_the_known(unknown):
    with pytest.raises(BadArguments, match=f"unknown arguments .*{unknown}.*--max-rows.*--radius-arcsec"):
        parsed(unknown, "5")


def test_all_unknown_arguments_are_listed():
    with pytest.raises(BadArguments, match=r"\['--one', '--two', 'x'\]"):
        parsed("--one", "--two", "x")


def test_a_stray_word_is_listed():
    with pytest.raises(BadArguments, match=r"\['stray'\]"):
        parse("stray", *REQUIRED)


def test_what_glue_adds_is_set_aside_wherever_it_stands():
    alone = parsed()
    assert parse(*GLUE, *REQUIRED) == alone
    assert parse(*REQUIRED, *GLUE) == alone
    assert parse(*REQUIRED[:2], *GLUE, *REQUIRED[2:]) == alone


def test_what_glue_adds_is_not_taken_for_values_of_ours():
    assert parse(*REQUIRED, "a b.fits", *GLUE).input == ("a.fits", "a b.fits")


def test_an_unknown_flag_among_those_of_glue_is_listed():
    with pytest.raises(BadArguments, match=r"\['--max-row', '5'\]"):
        parse(*GLUE, "--max-row", "5", *REQUIRED)


@pytest.mark.parametrize("argv", [GLUE, ("--enable-metrics",), ("--TempDir=s3://temp/dir",), ()])
def test_glue_flags_and_their_values_are_dropped(argv):
    assert drop_glue_flags(argv) == []


def test_a_flag_without_value_does_not_swallow_the_next_flag():
    assert drop_glue_flags(["--enable-metrics", "--mine", "x"]) == ["--mine", "x"]


@given(st.lists(st.text(max_size=8), max_size=5))
def test_any_list_of_strings_travels_as_json(values):
    assert parsed("--tables", json.dumps(values)).tables == tuple(values)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5))
def test_any_list_of_numbers_travels_as_json(values):
    assert parsed("--radii-arcsec", json.dumps(values)).radii_arcsec == tuple(values)


def test_parsing_twice_does_not_add_up():
    assert parsed("--tables", "a").tables == parsed("--tables", "a").tables == ("a",)


def test_arguments_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed().n = 5


def test_storage_options_are_empty_for_ambient_credentials():
    assert parsed().storage_options == {}


def test_storage_options_of_an_endpoint():
    args = parsed("--s3-endpoint-url", "http://127.0.0.1:9000", "--s3-region", "eu-west-1")
    assert args.storage_options == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_REGION": "eu-west-1",
        "AWS_ALLOW_HTTP": "true",
    }


def test_an_endpoint_with_tls_needs_no_permission_for_http():
    assert "AWS_ALLOW_HTTP" not in parsed("--s3-endpoint-url", "https://store").storage_options


def test_help_lists_every_flag(capsys):
    print_help(Args, "match", "Match things.")
    text = capsys.readouterr().out
    assert "Match things." in text
    for field in dataclasses.fields(Args):
        assert f"--{field.name.replace('_', '-')}" in text
