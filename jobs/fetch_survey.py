"""Fetch a region of a survey into the lake: its catalog, its images, or both."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.job.fetch import CatalogWish, ImageWish, fetch_images_of, fetch_rows_of, read_json
from astrolake.job.ingest import joined
from astrolake.sky.region import FORMS, parse_region


@dataclass(frozen=True, kw_only=True)
class FetchSurveyArgs(JobArgs):
    """Flags of fetch_survey."""

    survey: str = flag(help="name of a survey, or a .toml file of your own (docs/surveys.md)")
    region: str = flag(help=FORMS)
    release: str = flag("", help="release of the survey (its first)")
    catalog: str = flag("service", help="where rows come from", choices=("service", "bulk", "none"))
    survey_table: str = flag("", help="table of the survey (its first)")
    table: str = flag("", help="table of the lake that the rows are added to (the survey's name)")
    columns: tuple[str, ...] = flag((), help="columns of the lake to take (a usual choice)")
    filters: str = flag("", help='JSON, such as {"type": "GALAXY", "r_mag": [18, 22]}')
    cut: tuple[str, ...] = flag((), help="named selections of the survey, such as clean")
    verify_counts: bool = flag(False, help="compare each answer with a count of its own")
    images: bool = flag(False, help="download the images that touch the region, and register them")
    bands: tuple[str, ...] = flag((), help="bands of the images (all)")
    image_options: str = flag("", help='JSON of the survey\'s own options, such as {"kind": "warp"}')
    workers: int = flag(4, help="queries, or files, at a time")

    def check(self) -> None:
        """Refuse runs that would do nothing."""
        if self.workers < 1 or (self.catalog == "none" and not self.images):
            raise BadArguments("there is nothing to fetch: give --catalog or --images, and a worker at least")


def run(args: FetchSurveyArgs, context: JobContext) -> Outcome:
    """Fetch what is asked for; units are rows and image files."""
    survey, region = load_survey(args.survey, args.release), parse_region(args.region)
    parts = []
    if args.catalog != "none":
        what = read_json("--filters", args.filters), args.cut, args.verify_counts
        wish = CatalogWish(survey.table(args.survey_table), region, args.columns or None, *what)
        parts.append(fetch_rows_of(context, survey, wish, args.catalog, args.table, args.workers))
    if args.images:
        options = read_json("--image-options", args.image_options)
        wanted = ImageWish(survey, region, args.region, args.bands, options)
        parts.append(fetch_images_of(context, wanted, args.workers))
    return joined(parts)


JOB = Job("fetch_survey", FetchSurveyArgs, run, __doc__ or "", creates_lake=True)

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
