r"""Submit a job to EMR Serverless or to an EMR cluster, and wait for it.

    python emr/submit.py extract_sources --application-id ID --execution-role-arn ARN \
        --artifacts s3://BUCKET/PREFIX --lake s3://BUCKET/lake --survey-images s3://BUCKET \
        --log-uri s3://BUCKET/logs [-- FLAGS OF THE JOB]
    python emr/submit.py extract_sources --cluster-id j-... --artifacts ... (the rest as above)

Exit codes: 0 the job is done (or submitted, with --no-wait), 1 it failed, 2 bad arguments.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from astrolake import __version__
from astrolake.batch_processing.aws import make_session
from astrolake.batch_processing.emr import add_step, read_request, start_job_run, wait_for_run
from astrolake.errors import AstrolakeError, BadArguments
from astrolake.redact import RedactingFormatter

_REQUESTS = Path(__file__).resolve().parent / "serverless"


def main(argv: Sequence[str] | None = None) -> int:
    """Submit, wait, and print one JSON object that says what became of the job."""
    given = list(sys.argv[1:] if argv is None else argv)
    cut = given.index("--") if "--" in given else len(given)
    args = _parser().parse_args(given[:cut])
    _log_to_stderr()
    try:
        return _submit(args, given[cut + 1 :])
    except BadArguments as error:
        print(f"submit: {error}", file=sys.stderr)
        return 2
    except AstrolakeError as error:
        print(f"submit: {error}", file=sys.stderr)
        return 1


def _submit(args: argparse.Namespace, flags: Sequence[str]) -> int:
    request = read_request(_REQUESTS, args.job, _values(args), flags)
    session = make_session(args.region, args.profile)
    if args.cluster_id:
        run = add_step(args.cluster_id, request, args.token, session)
    else:
        run = start_job_run(request, args.token, session)
    answer = {"job": args.job, "id": run.run_id, "owner": run.owner, "logs": run.logs, "token": args.token}
    if args.no_wait:
        print(json.dumps(answer | {"state": "SUBMITTED"}))
        return 0
    state = wait_for_run(run, session, timeout_s=args.timeout_minutes * 60)
    print(json.dumps(answer | {"state": state.state, "detail": state.detail}))
    return 0 if state.succeeded else 1


def _values(args: argparse.Namespace) -> dict[str, str]:
    if not args.cluster_id and not (args.application_id and args.execution_role_arn):
        raise BadArguments("give --cluster-id, or --application-id and --execution-role-arn")
    return {
        "ApplicationId": args.application_id,
        "ExecutionRoleArn": args.execution_role_arn,
        "Artifacts": args.artifacts.rstrip("/"),
        "LakeUri": args.lake.rstrip("/"),
        "SurveyImages": args.survey_images.rstrip("/"),
        "LogUri": args.log_uri.rstrip("/"),
        "GlueDatabase": args.database,
        "Version": args.version,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("job", help="name of the job; flags of its own follow after --")
    parser.add_argument("--application-id", default="", help="EMR Serverless application")
    parser.add_argument("--execution-role-arn", default="", help="role that the job has there")
    parser.add_argument("--cluster-id", default="", help="EMR cluster, instead of an application")
    parser.add_argument("--artifacts", required=True, help="s3://bucket/prefix that holds jobs/ and emr/")
    parser.add_argument("--lake", required=True, help="root of the lake")
    parser.add_argument("--survey-images", required=True, help="s3://bucket of the images")
    parser.add_argument("--log-uri", required=True, help="s3://bucket/prefix for the logs")
    parser.add_argument("--database", default="astronomy_catalog", help="Glue database of publish_tables")
    parser.add_argument("--version", default=__version__, help="version in the name of the environment")
    parser.add_argument(
        "--token", default=uuid.uuid4().hex, help="submitting again with the same one runs once"
    )
    parser.add_argument("--no-wait", action="store_true", help="return when it is submitted")
    parser.add_argument("--timeout-minutes", type=float, default=1440.0, help="stop waiting after so long")
    parser.add_argument("--region", default="", help="of the application or cluster")
    parser.add_argument("--profile", default="", help="AWS profile")
    return parser


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("astrolake")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
