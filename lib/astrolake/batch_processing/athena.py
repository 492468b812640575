"""Questions to Athena: started with parameters, waited for, cancelled, read page by page, priced."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astrolake.batch_processing.aws import aws_errors, make_client, make_session
from astrolake.batch_processing.prices import athena_tb, load_prices
from astrolake.errors import AstrolakeError, BadArguments, MissingDependency
from astrolake.lake.sql_params import Value, athena_parameters, literal
from astrolake.redact import redact

if TYPE_CHECKING:
    import boto3
    import pandas as pd

#: Seconds between two looks at a query: the first, how they grow, the longest.
_FIRST_S, _GROWTH, _LONGEST_S = 0.25, 1.5, 5.0
_PRICE = "athena.scan"
#: Athena takes parameters of so many characters.
_VALUE_CHARACTERS = 1024
_MOST_PARAMETERS = 25
_MOST_PAGE_ROWS = 1000


@dataclass(frozen=True)
class QueryState:
    """Where a query stands.

    Parameters
    ----------
    query_id : str
    state : str
        QUEUED, RUNNING, SUCCEEDED, FAILED or CANCELLED.
    scanned_bytes : int
        Read from S3 so far.
    seconds : float
        Since it was started, as Athena counts them.
    result_uri : str
        File of the rows: CSV for a query.
    is_query : bool
        Whether it is a SELECT, not SHOW, DESCRIBE or CREATE.
    reason : str
        Why it failed or was cancelled.
    """

    query_id: str
    state: str
    scanned_bytes: int = 0
    seconds: float = 0.0
    result_uri: str = ""
    is_query: bool = True
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class Target:
    """Where a query runs.

    Parameters
    ----------
    database : str
        Glue database whose tables need no prefix.
    workgroup : str
        Athena workgroup; the account's default one when empty.
    output_uri : str
        Where results go when the workgroup says nothing.
    """

    database: str = "astronomy_catalog"
    workgroup: str = ""
    output_uri: str = ""


def run_athena(
    sql: str,
    params: Mapping[str, Value],
    names: Mapping[str, str],
    target: Target,
    session: boto3.session.Session | None = None,
    report: Callable[[QueryState], None] | None = None,
) -> QueryState:
    """Run a statement to its end; values travel beside the SQL and are never part of it.

    Parameters
    ----------
    sql : str
    params : mapping
        A value for each ``:name``.
    names : mapping
        A table, column or database for each ``${name}``: lower-case letters, digits and _.
    target : Target
    session : boto3 Session
    report : callable, optional
        Told of the state at every look.

    Returns
    -------
    QueryState
        SUCCEEDED. A wait that is interrupted (Ctrl-C) cancels the query.

    Raises
    ------
    BadArguments
        When parameters are missing, unknown or cannot be passed.
    AstrolakeError
        When the query fails or Athena refuses it; the message gives Athena's reason.
    """
    query_id = start_query(sql, params, names, target, session)
    try:
        state = wait_for_query(query_id, session, report)
    except BaseException:
        cancel_query(query_id, session)
        raise
    if state.state != "SUCCEEDED":
        raise AstrolakeError(
            f"query {query_id} {state.state.lower()}: {state.reason or 'Athena gives no reason'}"
        )
    return state


def start_query(
    sql: str,
    params: Mapping[str, Value],
    names: Mapping[str, str],
    target: Target,
    session: boto3.session.Session | None = None,
) -> str:
    """Start a statement and return its identifier; see `run_athena`."""
    text, values = athena_parameters(sql, params, names)
    if len(values) > _MOST_PARAMETERS:
        raise BadArguments(f"Athena takes {_MOST_PARAMETERS} parameters, the statement has {len(values)}")
    for name, value in params.items():
        if len(literal(value)) > _VALUE_CHARACTERS:
            raise BadArguments(f":{name} is longer than the {_VALUE_CHARACTERS} characters that Athena takes")
    request: dict[str, Any] = {
        "QueryString": text,
        "QueryExecutionContext": {"Database": target.database},
    }
    if values:
        request["ExecutionParameters"] = values
    if target.workgroup:
        request["WorkGroup"] = target.workgroup
    if target.output_uri:
        request["ResultConfiguration"] = {"OutputLocation": target.output_uri}
    with aws_errors("start the query", "check the workgroup, its result location and your permissions"):
        return str(make_client("athena", session).start_query_execution(**request)["QueryExecutionId"])


def wait_for_query(
    query_id: str,
    session: boto3.session.Session | None = None,
    report: Callable[[QueryState], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> QueryState:
    """Return the final state of a query; looks become rarer with time.

    Parameters
    ----------
    query_id : str
    session : boto3 Session
    report : callable, optional
        Told of the state at every look.
    sleep : callable
        Waits for so many seconds.
    """
    client, pause_s = make_client("athena", session), _FIRST_S
    while True:
        with aws_errors(f"look at query {query_id}"):
            answer = client.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
        state = _state(query_id, answer)
        if report is not None:
            report(state)
        if state.is_over:
            return state
        sleep(pause_s)
        pause_s = min(pause_s * _GROWTH, _LONGEST_S)


def cancel_query(query_id: str, session: boto3.session.Session | None = None) -> None:
    """Stop a query, so that it scans and costs no more."""
    with aws_errors(f"cancel query {query_id}", "cancel it in the console: it may still run"):
        make_client("athena", session).stop_query_execution(QueryExecutionId=query_id)


def query_pages(
    state: QueryState, page_rows: int, session: boto3.session.Session | None = None
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a finished statement, so many at a time; those of a query have Athena's types.

    Parameters
    ----------
    state : QueryState
        As `run_athena` returns it.
    page_rows : int
    session : boto3 Session

    Raises
    ------
    MissingDependency
        When awswrangler is not installed.
    """
    with aws_errors(
        f"read the answer of query {state.query_id}", "check your permissions on the result bucket"
    ):
        if state.is_query:
            yield from _typed_pages(state.query_id, page_rows, session or make_session())
        else:
            yield from _text_pages(state.query_id, page_rows, session)


def _typed_pages(query_id: str, page_rows: int, session: boto3.session.Session) -> Iterator[pd.DataFrame]:
    try:
        import awswrangler as wr
    except ImportError as error:
        raise MissingDependency("answers of Athena need awswrangler: pip install 'astrolake[aws]'") from error
    yield from wr.athena.get_query_results(query_id, chunksize=page_rows, boto3_session=session)


def _text_pages(
    query_id: str, page_rows: int, session: boto3.session.Session | None
) -> Iterator[pd.DataFrame]:
    """Yield what SHOW and DESCRIBE answer: Athena writes it as text, without a header."""
    import pandas as pd

    pages = make_client("athena", session).get_paginator("get_query_results")
    settings = {"PageSize": min(page_rows, _MOST_PAGE_ROWS)}
    for page in pages.paginate(QueryExecutionId=query_id, PaginationConfig=settings):
        found = page["ResultSet"]
        names = [column["Name"] for column in found["ResultSetMetadata"]["ColumnInfo"]]
        rows = [[cell.get("VarCharValue") for cell in row["Data"]] for row in found["Rows"]]
        yield pd.DataFrame(rows, columns=names)


def query_cost_usd(scanned_bytes: int) -> float:
    """Return what a query costs by the price list: statements that scan nothing are free."""
    if not scanned_bytes:
        return 0.0
    prices = load_prices()
    least_mb = int(prices.entry(_PRICE)["minimum_mb"])
    return prices.usd(_PRICE, athena_tb(1, scanned_bytes / 2**30, least_mb))


def quicksight_manifest(result_uri: str) -> dict[str, Any]:
    """Return the manifest by which QuickSight imports the CSV file of a query's rows.

    QuickSight reads no Parquet from S3: for tables that grow, give it the view through Athena.
    """
    return {
        "fileLocations": [{"URIs": [result_uri]}],
        "globalUploadSettings": {
            "format": "CSV",
            "delimiter": ",",
            "textqualifier": '"',
            "containsHeader": "true",
        },
    }


def _state(query_id: str, answer: Mapping[str, Any]) -> QueryState:
    status, numbers = answer["Status"], answer.get("Statistics", {})
    return QueryState(
        query_id,
        status["State"],
        int(numbers.get("DataScannedInBytes", 0)),
        numbers.get("TotalExecutionTimeInMillis", 0) / 1000,
        answer.get("ResultConfiguration", {}).get("OutputLocation", ""),
        answer.get("StatementType", "DML") == "DML",
        redact(status.get("StateChangeReason", "")),
    )
