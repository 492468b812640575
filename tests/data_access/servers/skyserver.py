"""SkyServer's SQL search: CSV below a line that names the table, JSON, and errors in JSON."""

import json

import pyarrow as pa

from tests.data_access.servers.base import LoopbackServer, Recorded, Reply
from tests.data_access.servers.query_engine import Database, QueryRefused

_PATH = "/dr18/SkyServerWS/SearchTools/SqlSearch"


class SkyServerServer(LoopbackServer):
    """The search, which sends `most_rows` rows at most and does not say when there are more.

    `messages` are sent with status 200 in place of the next answers.
    """

    def __init__(self, database: Database, most_rows: int = 500_000) -> None:
        super().__init__()
        self.database, self.most_rows = database, most_rows
        self.queries: list[str] = []
        self.messages: list[bytes] = []
        self.search_url = self.url + _PATH
        self.route("GET", _PATH, self._search)

    def _search(self, request: Recorded) -> Reply:
        query = request.query.get("cmd", "")
        self.queries.append(query)
        if self.messages:
            return Reply(200, self.messages.pop(0), "text/html")
        try:
            rows = self.database.run(query).slice(0, self.most_rows)
        except QueryRefused as error:
            told = {"Error Code": 400, "Error Type": "Bad Request", "Error Message": str(error)}
            return Reply(400, json.dumps(told).encode(), "application/json")
        if request.query.get("format") == "json":
            return Reply(200, json.dumps([{"TableName": "Table1", "Rows": rows.to_pylist()}]).encode())
        return Reply(200, csv_of(rows), "text/plain")


def csv_of(rows: pa.Table) -> bytes:
    """Return rows as SkyServer writes them, null as a word."""
    lines = ["#Table1", ",".join(rows.column_names)]
    columns = [column.to_pylist() for column in rows.columns]
    lines += [
        ",".join("null" if value is None else str(value) for value in row)
        for row in zip(*columns, strict=True)
    ]
    return ("\n".join(lines) + "\n").encode()
