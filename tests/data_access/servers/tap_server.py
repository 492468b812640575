"""A TAP 1.1 service: synchronous queries, UWS jobs, VOTable, FITS and CSV, overflow and error documents."""

import io
import itertools
import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.csv as pa_csv
from astropy.io.votable import from_table
from astropy.table import Table

from tests.data_access.servers.base import LoopbackServer, Recorded, Reply
from tests.data_access.servers.query_engine import Database, QueryRefused

_VOTABLE = "application/x-votable+xml"
_ERROR = (
    '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
    '<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">{}</INFO></RESOURCE></VOTABLE>'
)
_JOB = (
    '<?xml version="1.0"?><uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" version="1.1" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "<uws:jobId>{id}</uws:jobId><uws:ownerId xsi:nil='true'/><uws:phase>{phase}</uws:phase>"
    "<uws:quote xsi:nil='true'/><uws:startTime xsi:nil='true'/><uws:endTime xsi:nil='true'/>"
    "<uws:executionDuration>1800</uws:executionDuration><uws:destruction>2026-01-01T00:00:00Z</uws:destruction>"
    "<uws:parameters>{parameters}</uws:parameters><uws:results>{results}</uws:results>{error}</uws:job>"
)


@dataclass(frozen=True)
class JobEnd:
    """How a job ends: COMPLETED, ERROR (a type, fatal or transient, and a message) or ABORTED."""

    phase: str = "COMPLETED"
    type: str = "fatal"
    message: str = ""


@dataclass
class Job:
    """A UWS job; each look at it that is no phase's last moves it on."""

    parameters: dict[str, str]
    end: JobEnd
    phase: str = "PENDING"
    looks: int = 0


@dataclass
class Behaviour:
    """What the service does; may be changed while it runs.

    `most_rows`: of an answer; `sync_rows`: of a synchronous one; `marked`: whether a VOTable says that it was cut
    off; `serialisation`: tabledata or binary2; `waits`: looks at a job before it is executed and done; `ends`: of
    the next jobs, others are COMPLETED; `refusals_as_200`: errors of queries come with status 200.
    """

    most_rows: int = 1_000_000
    sync_rows: int = 1_000_000
    marked: bool = True
    serialisation: str = "tabledata"
    waits: int = 2
    ends: list[JobEnd] = field(default_factory=list)
    refusals_as_200: bool = False


class TapServer(LoopbackServer):
    """Resources of TAP below ``/tap``."""

    def __init__(self, database: Database, **behaviour) -> None:
        super().__init__()
        self.database, self.behaviour = database, Behaviour(**behaviour)
        self.queries: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.deleted: list[str] = []
        self._numbers = itertools.count(1)
        self.tap_url = self.url + "/tap"
        for method in ("GET", "POST"):
            self.route(method, "/tap/sync", self._sync)
        self.route("POST", "/tap/async", self._create)
        self.route("GET", "/tap/async/(job\\d+)", self._look)
        self.route("DELETE", "/tap/async/(job\\d+)", self._delete)
        self.route("POST", "/tap/async/(job\\d+)/phase", self._set_phase)
        self.route("GET", "/tap/async/(job\\d+)/results/result", self._result)

    def _sync(self, request: Recorded) -> Reply:
        return self._answer(request.parameters, self.behaviour.sync_rows)

    def _create(self, request: Recorded) -> Reply:
        number = f"job{next(self._numbers)}"
        end = self.behaviour.ends.pop(0) if self.behaviour.ends else JobEnd()
        self.jobs[number] = Job(request.parameters, end)
        return self._see(number)

    def _see(self, number: str) -> Reply:
        return Reply(303, b"", headers={"Location": f"{self.tap_url}/async/{number}"})

    def _set_phase(self, request: Recorded) -> Reply:
        job = self.jobs[request.groups[0]]
        if request.parameters.get("PHASE") == "RUN" and job.phase == "PENDING":
            job.phase = "QUEUED"
        return self._see(request.groups[0])

    def _look(self, request: Recorded) -> Reply:
        number = request.groups[0]
        if number not in self.jobs:
            return Reply(404, b"no such job", "text/plain")
        job = self.jobs[number]
        if job.phase in ("QUEUED", "EXECUTING"):
            job.looks += 1
            job.phase = "EXECUTING" if job.looks <= self.behaviour.waits else job.end.phase
        return Reply(200, self._description(number, job).encode(), "text/xml")

    def _description(self, number: str, job: Job) -> str:
        parameters = "".join(
            f"<uws:parameter id={quoteattr(name)}>{escape(value)}</uws:parameter>"
            for name, value in job.parameters.items()
        )
        results = error = ""
        if job.phase == "COMPLETED":
            href = f"{self.tap_url}/async/{number}/results/result"
            results = f'<uws:result id="result" xlink:href={quoteattr(href)}/>'
        elif job.end.message and job.phase == job.end.phase:
            error = (
                f'<uws:errorSummary type="{job.end.type}" hasDetail="false">'
                f"<uws:message>{escape(job.end.message)}</uws:message></uws:errorSummary>"
            )
        return _JOB.format(id=number, phase=job.phase, parameters=parameters, results=results, error=error)

    def _result(self, request: Recorded) -> Reply:
        return self._answer(self.jobs[request.groups[0]].parameters, self.behaviour.most_rows)

    def _delete(self, request: Recorded) -> Reply:
        self.jobs.pop(request.groups[0], None)
        self.deleted.append(request.groups[0])
        return Reply(303, b"", headers={"Location": f"{self.tap_url}/async"})

    def _answer(self, parameters: dict[str, str], most_rows: int) -> Reply:
        if parameters.get("LANG") != "ADQL" or "QUERY" not in parameters:
            return self._refusal("LANG must be ADQL, and QUERY be given")
        self.queries.append(parameters["QUERY"])
        limit = min(most_rows, self.behaviour.most_rows, int(parameters.get("MAXREC", most_rows)))
        try:
            rows = self.database.run(parameters["QUERY"], limit)
        except QueryRefused as error:
            return self._refusal(str(error))
        over = rows.num_rows > limit
        rows = rows.slice(0, limit)
        form = parameters.get("RESPONSEFORMAT", "votable")
        if form == "csv":
            body = io.BytesIO()
            pa_csv.write_csv(rows, body, pa_csv.WriteOptions(quoting_style="needed"))
            return Reply(200, body.getvalue(), "text/csv")
        if form == "fits":
            return Reply(200, fits_of(rows), "application/fits")
        return Reply(
            200, votable_of(rows, over and self.behaviour.marked, self.behaviour.serialisation), _VOTABLE
        )

    def _refusal(self, message: str) -> Reply:
        status = 200 if self.behaviour.refusals_as_200 else 400
        return Reply(status, _ERROR.format(escape(message)).encode(), _VOTABLE)


def astropy_table(rows: pa.Table) -> Table:
    """Return rows as astropy has them, nulls masked."""
    return Table.from_pandas(rows.to_pandas(types_mapper=_nullable)) if rows.num_rows else _empty(rows)


def _nullable(kind: pa.DataType):
    import pandas as pd

    return {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}.get(kind)


def _empty(rows: pa.Table) -> Table:
    kinds = [
        object if pa.types.is_string(field.type) else field.type.to_pandas_dtype() for field in rows.schema
    ]
    return Table(names=rows.column_names, dtype=["U1" if kind is object else kind for kind in kinds])


def fits_of(rows: pa.Table) -> bytes:
    """Return rows as a FITS file with one table."""
    body = io.BytesIO()
    astropy_table(rows).write(body, format="fits")
    return body.getvalue()


def votable_of(rows: pa.Table, overflow: bool, serialisation: str) -> bytes:
    """Return rows as a VOTable with its status before, and behind where it was cut off (DALI 1.1, 4.4.1)."""
    body = io.BytesIO()
    # astropy's own writer of TABLEDATA (8.0.2) writes beyond its buffer, and sometimes ends the process.
    own = serialisation == "tabledata"
    from_table(astropy_table(rows)).to_xml(body, tabledata_format="binary2" if own else serialisation)
    text = body.getvalue()
    if own:
        text = re.sub(rb"<BINARY2>.*?</BINARY2>", lambda found: tabledata_of(rows), text, flags=re.DOTALL)
    first = b'<INFO name="QUERY_STATUS" value="OK"/>'
    start = text.index(b">", text.index(b"<RESOURCE")) + 1
    text = text[:start] + first + text[start:]
    last = b'<INFO name="QUERY_STATUS" value="OVERFLOW"/></RESOURCE>' if overflow else b"</RESOURCE>"
    return text.replace(b"</RESOURCE>", last)


def tabledata_of(rows: pa.Table) -> bytes:
    """Return the rows as XML; a cell without content is null."""
    columns = [[_cell(value) for value in column.to_pylist()] for column in rows.columns]
    lines = ("".join(cells) for cells in zip(*columns, strict=True))
    return ("<TABLEDATA>" + "".join(f"<TR>{line}</TR>" for line in lines) + "</TABLEDATA>").encode()


def _cell(value) -> str:
    if value is None:
        return "<TD/>"
    return f"<TD>{str(value).lower() if isinstance(value, bool) else escape(str(value))}</TD>"
