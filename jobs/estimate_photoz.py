"""Estimate photometric redshifts of a table's objects with a trained model."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.staging import Staged, collect_reports
from astrolake.photoz import spark as stage
from astrolake.photoz.model_store import choose


@dataclass(frozen=True, kw_only=True)
class EstimatePhotozArgs(JobArgs):
    """Flags of estimate_photoz."""

    model: str = flag(help="name of a model of train_photoz (its newest), or a model_id")
    table: str = flag("objects", help="table of the objects, with the columns that the model was trained on")
    where: str = flag("", help='SQL condition on its rows, e.g. "mag_auto_i < 25"; other estimates stay')
    method_name: str = flag("", help="what the estimates are called in photoz (the name of the model)")
    pdf_step: float = flag(0.0, help="step in redshift of the column pdf (0: no PDFs)")

    def check(self) -> None:
        """Refuse what no model could do, before Spark starts."""
        if self.pdf_step < 0:
            raise BadArguments(f"--pdf-step {self.pdf_step}: give a step in redshift, or 0 for no PDFs")


def run(args: EstimatePhotozArgs, context: JobContext) -> Outcome:
    """Estimate objects and replace what this method had for them, or for the table; units are objects."""
    models = stage.stored_models(context.read("models"))
    model = choose(context.lake.storage, models, args.model)
    snapshot = context.snapshot(args.table)
    method = args.method_name or model.name
    estimator = model.load()
    request, table = stage.plan_request(args.table, snapshot, estimator, method, args.pdf_step)
    stage.check_identifiers(context.writer, table, request)
    rows, count = stage.chosen_rows(context.spark, snapshot, args.where)
    stage.check_columns(rows, request, estimator)
    reports = stage.estimate_reports(rows, request, model, context.writer.stage_spec(table))
    staged, counts = collect_reports(reports)
    mine = staged.get(table.name, Staged())
    what = stage.replaced(context.writer, mine, table, request, some=bool(args.where))
    written = context.writer.replace_staged(mine, table, what)
    return Outcome(count, counts.get(stage.ESTIMATED, 0), 0, [written])


JOB = Job("estimate_photoz", EstimatePhotozArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
