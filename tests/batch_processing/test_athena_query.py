"""Athena is asked with parameters, waited for, cancelled, priced, and its answer printed."""

import json
import urllib.request

import pytest

from astrolake.batch_processing import athena
from astrolake.batch_processing.aws import make_client
from astrolake.cli import main
from astrolake.errors import AstrolakeError, BadArguments

OUTPUT = "s3://results/answers/"
TARGET = athena.Target("astronomy_catalog", output_uri=OUTPUT)
HOSTILE = [
    "o'brien",
    "'; DROP TABLE sources; --",
    "x' OR '1'='1",
    "/* a */ -- b",
    "’ OR ’1’=’1",
    "\\' OR 1=1",
    "${table} :band ?",
    "line\nbreak",
]


@pytest.fixture
def results(aws):
    """Let the next queries answer with these rows: results(header, rows)."""
    make_client("s3").create_bucket(Bucket="results")

    def answer(columns, rows):
        cells = [list(columns), *rows]
        found = {
            "rows": [{"Data": [{"VarCharValue": str(cell)} for cell in row]} for row in cells],
            "column_info": [
                {"CatalogName": "hive", "Name": name, "Label": name, "Type": kind}
                for name, kind in columns.items()
            ],
        }
        body = json.dumps({"results": [found], "region": "us-east-1"}).encode()
        url = f"{aws}/moto-api/static/athena/query-results"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    return answer


def executions():
    client = make_client("athena")
    ids = client.list_query_executions()["QueryExecutionIds"]
    return [client.get_query_execution(QueryExecutionId=one)["QueryExecution"] for one in ids]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_never_becomes_part_of_the_statement(aws, value):
    sql = "SELECT * FROM sources WHERE band = :band"
    athena.start_query(sql, {"band": value}, {}, TARGET)
    (execution,) = executions()
    assert execution["Query"] == "SELECT * FROM sources WHERE band = ?"
    (literal,) = execution["ExecutionParameters"]
    assert literal == "'" + value.replace("'", "''") + "'"


@pytest.mark.parametrize("name", ["sources; DROP TABLE x", 'sources"', "Sources", "a.b", "", "sоurces", "1a"])
def test_a_name_outside_the_allowed_form_is_refused(aws, name):
    with pytest.raises(BadArguments, match="is no name"):
        athena.start_query("SELECT 1 FROM ${table}", {}, {"table": name}, TARGET)
    assert executions() == []


def test_limits_of_athena_are_told_before_it_is_asked(aws):
    with pytest.raises(BadArguments, match=":band is longer than"):
        athena.start_query("SELECT :band", {"band": "x" * 1100}, {}, TARGET)
    many = {f"p{i}": i for i in range(26)}
    with pytest.raises(BadArguments, match="takes 25 parameters"):
        athena.start_query("SELECT " + ", ".join(f":{name}" for name in many), many, {}, TARGET)
    assert executions() == []


def ask(*flags):
    return main(["query", *flags, "--output", OUTPUT, "--database", "astronomy_catalog"])


def test_rows_are_printed_with_their_types(results, capsys):
    results({"band": "varchar", "n": "bigint", "snr": "double"}, [["r", 3, 12.5], ["g", 40, 7.25]])
    assert (
        ask("SELECT band, n, snr FROM sources WHERE snr > :least", "--param", "least=5", "--format", "jsonl")
        == 0
    )
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert rows == [{"band": "r", "n": 3, "snr": 12.5}, {"band": "g", "n": 40, "snr": 7.25}]
    assert "MB scanned, USD 0.0" in printed.err
    (execution,) = executions()
    assert execution["ExecutionParameters"] == ["5"]
    assert execution["QueryExecutionContext"]["Database"] == "astronomy_catalog"


def test_output_forms_and_row_limit(results, capsys):
    columns = {"n": "bigint"}
    results(columns, [[number] for number in range(5)])
    assert ask("SELECT n FROM sources", "--format", "csv", "--max-rows", "2") == 0
    printed = capsys.readouterr()
    assert printed.out.split() == ["n", "0", "1"]
    assert "only the first 2 rows" in printed.err
    results(columns, [[7]])
    assert ask("SELECT n FROM sources") == 0
    assert "(1 row)" in capsys.readouterr().out


def test_pages_are_read_one_after_the_other(results):
    results({"n": "bigint"}, [[number] for number in range(25)])
    state = athena.run_athena("SELECT n FROM sources", {}, {}, TARGET)
    pages = list(athena.query_pages(state, 10))
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [int(number) for page in pages for number in page["n"]] == list(range(25))


def test_quicksight_gets_a_manifest_of_the_answer(results, tmp_path):
    results({"n": "bigint"}, [[1]])
    path = tmp_path / "manifest.json"
    assert ask("SELECT n FROM sources", "--quicksight-manifest", str(path)) == 0
    manifest = json.loads(path.read_text())
    (uri,) = manifest["fileLocations"][0]["URIs"]
    assert uri == f"{OUTPUT}{executions()[0]['QueryExecutionId']}.csv"
    assert manifest["globalUploadSettings"]["format"] == "CSV"
    key = uri.removeprefix("s3://results/")
    assert make_client("s3").get_object(Bucket="results", Key=key)["Body"].read().startswith(b'"n"')


class FakeAthena:
    """Answers with given states; remembers what was stopped."""

    def __init__(self, states, reason=""):
        self.states, self.reason, self.stopped = list(states), reason, []

    def start_query_execution(self, **request):
        return {"QueryExecutionId": "q-1"}

    def get_query_execution(self, QueryExecutionId):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        status = {"State": state, "StateChangeReason": self.reason}
        return {"QueryExecution": {"Status": status, "Statistics": {"DataScannedInBytes": 5}}}

    def stop_query_execution(self, QueryExecutionId):
        self.stopped.append(QueryExecutionId)


def test_looks_become_rarer(monkeypatch):
    fake = FakeAthena(["QUEUED", *["RUNNING"] * 12, "SUCCEEDED"])
    monkeypatch.setattr(athena, "make_client", lambda *args: fake)
    waits, seen = [], []
    state = athena.wait_for_query("q-1", report=lambda state: seen.append(state.state), sleep=waits.append)
    assert (state.state, state.scanned_bytes) == ("SUCCEEDED", 5)
    assert waits[:3] == [0.25, 0.375, 0.5625]
    assert waits == sorted(waits)
    assert max(waits) == 5.0
    assert seen[0] == "QUEUED"
    assert len(seen) == 14


def test_a_failed_query_gives_athenas_reason_without_the_account(monkeypatch):
    reason = "Insufficient permissions for arn:aws:s3:us-east-1:123456789012:thing"
    monkeypatch.setattr(athena, "make_client", lambda *args: FakeAthena(["FAILED"], reason))
    with pytest.raises(AstrolakeError, match="q-1 failed: Insufficient permissions") as caught:
        athena.run_athena("SELECT 1", {}, {}, TARGET)
    assert "123456789012" not in str(caught.value)


def test_an_interrupted_wait_cancels_the_query(monkeypatch, capsys):
    fake = FakeAthena(["RUNNING"])
    monkeypatch.setattr(athena, "make_client", lambda *args: fake)

    def interrupt(state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        athena.run_athena("SELECT 1", {}, {}, TARGET, report=interrupt)
    assert fake.stopped == ["q-1"]


def test_ctrl_c_at_the_command_cancels_the_query(aws, monkeypatch, capsys):
    from astrolake import cli_aws_data

    fake = FakeAthena(["RUNNING"])
    monkeypatch.setattr(athena, "make_client", lambda *args: fake)

    def interrupt(state):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_aws_data, "_show_state", interrupt)
    assert ask("SELECT 1") == 130
    assert fake.stopped == ["q-1"]
    assert "cancelled" in capsys.readouterr().err


def test_costs_have_a_least_and_grow_with_the_bytes():
    assert athena.query_cost_usd(0) == 0
    assert athena.query_cost_usd(1) == athena.query_cost_usd(10 * 2**20)
    assert athena.query_cost_usd(2**40) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--param", "band"], "write NAME=VALUE"),
        (["--param", "other=1"], "needs values for :band"),
        (["--param", "band=r", "--name", "table=x"], "has no parameter table"),
    ],
)
def test_bad_flags_are_explained(aws, capsys, flags, message):
    assert ask("SELECT :band", *flags) == 2
    assert message in capsys.readouterr().err
