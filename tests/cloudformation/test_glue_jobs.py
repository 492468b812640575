"""The arguments of glue/jobs.json are flags of the jobs, given with everything that Glue puts beside them."""

import importlib
import json
from pathlib import Path

import pytest

from astrolake import __version__
from astrolake.errors import BadArguments
from astrolake.job.args import parse_args
from tests.cloudformation.conftest import parameter_file
from tests.cloudformation.render import REGION, load_template, rendered_resources

ROOT = Path(__file__).resolve().parents[2]
DECLARED = json.loads((ROOT / "glue/jobs.json").read_text())
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("*.py") if path.stem != "__init__")
#: What Glue adds to a job's own arguments.
ADDED = (
    "--JOB_NAME",
    "{name}",
    "--JOB_ID",
    "j_1",
    "--JOB_RUN_ID",
    "jr_1",
    "--WORKFLOW_NAME",
    "survey",
    "--WORKFLOW_RUN_ID",
    "wr_1",
)


@pytest.fixture(scope="module")
def jobs(everything):
    resources = rendered_resources(everything)
    return {
        resource["Properties"]["Name"].removeprefix("astrolake-prod-"): resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Glue::Job"
    }


def argv_of(properties):
    """Return the command line that Glue builds: the script's arguments follow its own."""
    added = [text.format(name=properties["Name"]) for text in ADDED]
    return [*added, *(text for pair in properties["DefaultArguments"].items() for text in pair)]


def parsed(name, argv):
    module = importlib.import_module(f"jobs.{name}")
    return parse_args(module.JOB.args, argv, name, "")


@pytest.mark.parametrize("name", JOBS)
def test_arguments_are_flags_of_the_job(jobs, name):
    args = parsed(name, argv_of(jobs[name]))
    assert args.lake.startswith("s3://")
    assert args.s3_region == REGION
    for flag, value in DECLARED["jobs"][name]["DefaultArguments"].items():
        taken = getattr(args, flag.removeprefix("--").replace("-", "_"))
        first = taken[0] if isinstance(taken, tuple) else taken
        if "${" not in value:
            assert first == type(first)(value) if type(first) in (int, float) else str(first).lower() == value


@pytest.mark.parametrize("name", JOBS)
def test_a_misspelt_flag_is_refused(jobs, name):
    with pytest.raises(BadArguments, match="lakes"):
        parsed(name, [*argv_of(jobs[name]), "--lakes", "s3://b/lake"])


def test_glue_is_told_what_the_library_needs(jobs):
    for properties in jobs.values():
        arguments = properties["DefaultArguments"]
        assert arguments["--additional-python-modules"].endswith(f"astrolake-{__version__}.gluewheels.zip")
        assert arguments["--python-modules-installer-option"] == "--no-index"
        assert arguments["--conf"] == f"spark.hadoop.fs.s3a.endpoint.region={REGION}"
        assert arguments["--datalake-formats"] == "delta"


def test_versions_are_those_of_the_library():
    defaults = {
        name: spec.get("Default")
        for name, spec in load_template(ROOT / "cloudformation/astronomy-stack.yml")["Parameters"].items()
    }
    assert defaults["LibraryVersion"] == __version__
    assert defaults["ArtifactsPrefix"] == f"astrolake/{__version__}"
    for name in ("parameters.json", "parameters-prod.json"):
        assert parameter_file(name)["ArtifactsPrefix"] == f"astrolake/{__version__}"
