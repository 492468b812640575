"""The job contract: flags in, one JSON line out, the same on a laptop, Glue and EMR."""

from astrolake.job.args import ImageArgs, JobArgs, LearningArgs, flag
from astrolake.job.context import JobContext, Outcome
from astrolake.job.runner import Job, main

__all__ = ["ImageArgs", "Job", "JobArgs", "JobContext", "LearningArgs", "Outcome", "flag", "main"]
