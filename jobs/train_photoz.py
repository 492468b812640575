"""Train a photo-z model on the objects of a table that have spectroscopic redshifts."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.job import Job, JobContext, LearningArgs, Outcome, flag, main
from astrolake.photoz.spark_training import train_on_tables
from astrolake.photoz.train_options import METHODS, UNITS, TrainOptions
from astrolake.schema import MODELS


@dataclass(frozen=True, kw_only=True)
class TrainPhotozArgs(LearningArgs):
    """Flags of train_photoz."""

    method: str = flag("random_forest", help="how redshifts are told", choices=METHODS)
    models: tuple[str, ...] = flag((), help="of combined: two or more models of the lake, names or ids")
    name: str = flag("", help="what the model is called (the method)")
    table: str = flag("objects", help="table of the photometry")
    spec_table: str = flag(help="table with spectroscopic redshifts; may be the same")
    z_column: str = flag("z", help="its column of redshifts")
    spec_where: str = flag("", help='SQL condition on its rows, e.g. "zwarning = 0"')
    radius_arcsec: float = flag(1.0, help="match radius; not of crossmatches/<table>_x_<spec-table>")
    magnitudes: tuple[str, ...] = flag((), help="columns of the bands, blue to red (mag_aper_<band>)")
    errors: tuple[str, ...] = flag((), help="columns of their errors")
    bands: tuple[str, ...] = flag((), help="names of the bands (what the columns' names do not share)")
    template_set: str = flag("cosmos", help="templates: cosmos, cww, sdss, or a directory")
    filters: str = flag("", help="their filters: a survey or group of speclite, or a directory of curves")
    unit: str = flag("mag", help="of the columns: AB magnitudes or fluxes", choices=UNITS)
    features: tuple[str, ...] = flag((), help="further columns to learn from; NAME:log for sizes")
    z_min: float = flag(0.0, help="first redshift of the grid")
    z_max: float = flag(3.0, help="last redshift of the grid; spectra beyond are left out")
    z_step: float = flag(0.01, help="its step")

    def check(self) -> None:
        """Refuse what no training could use, before Spark starts."""
        _ = TrainOptions.of(self)


def run(args: TrainPhotozArgs, context: JobContext) -> Outcome:
    """Train a model, store it and add its row to `models`; units are objects with a redshift."""
    row, count = train_on_tables(context, args, TrainOptions.of(args))
    return Outcome(count, count, 0, [context.writer.append_rows(row, MODELS)])


JOB = Job("train_photoz", TrainPhotozArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
