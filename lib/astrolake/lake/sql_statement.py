"""Which SQL statements the lake answers: one that reads, in the form that Athena takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import Dialect, exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from astrolake.errors import BadArguments

DIALECTS = ("athena", "duckdb")

#: What Athena refuses although both sqlglot and DuckDB take it.
_NOT_ATHENA: dict[type[exp.Expr], str] = {
    exp.ILike: "ILIKE (compare lower(...) with LIKE)",
    exp.Version: "time travel on Delta tables (give the version beside the statement)",
    exp.Pivot: "PIVOT (aggregate with FILTER (WHERE ...))",
}
_CLAUSES = {"where": "WHERE", "group": "GROUP BY", "having": "HAVING"}
_WRITES = (exp.DML, exp.DDL, exp.Command, exp.Copy, exp.Drop, exp.Merge, exp.Into)
_LEADING_COMMENTS = re.compile(r"\A(\s*--[^\n]*\n|\s*/\*.*?\*/)+", re.DOTALL)
_NAME = r'[`"]?[\w/]+[`"]?'
_UTILITY = re.compile(
    rf"""\s*(?:
        (?P<tables>SHOW\s+TABLES)(?:\s+(?:IN|FROM)\s+{_NAME})?
      | (?:DESC(?:RIBE)?|SHOW\s+COLUMNS\s+(?:IN|FROM))\s+(?:{_NAME}\.)?[`"]?(?P<described>[\w/]+)[`"]?
      | EXPLAIN\s+(?P<analyze>ANALYZE\s+)?(?P<explained>.*)
    )\s*;?\s*""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


class AthenaQueries(Trino):
    """The grammar of Athena's queries, with subscripts kept as they are written.

    sqlglot would count them from 0 where it knows their type, and not where it does not.
    """

    INDEX_OFFSET = 0


@dataclass(frozen=True)
class Query:
    """A query, to be run or explained.

    Parameters
    ----------
    tree : sqlglot expression
    plan : str
        Empty to run it, else ``EXPLAIN`` or ``EXPLAIN ANALYZE``.
    """

    tree: exp.Query
    plan: str = ""

    @property
    def tables(self) -> list[str]:
        """Names of the tables read, in lower case, sorted."""
        return sorted({table.name.lower() for table in lake_tables(self.tree)})


@dataclass(frozen=True)
class ListTables:
    """SHOW TABLES."""


@dataclass(frozen=True)
class ListColumns:
    """DESCRIBE or SHOW COLUMNS of a table."""

    table: str


def parse_statement(sql: str, dialect: str = "athena") -> Query | ListTables | ListColumns:
    """Return the one statement of a text.

    Raises
    ------
    BadArguments
        When the text holds no statement, several, one that writes, a parameter without
        value or something that Athena has not; the message names it.
    """
    if dialect not in DIALECTS:
        raise BadArguments(f"unknown SQL dialect {dialect!r}; known are {', '.join(DIALECTS)}")
    utility = _UTILITY.fullmatch(_LEADING_COMMENTS.sub("", sql + "\n"))
    if utility is None:
        return Query(_query(sql, dialect))
    if utility["tables"]:
        return ListTables()
    if utility["described"]:
        return ListColumns(utility["described"].lower())
    return Query(_query(utility["explained"], dialect), f"EXPLAIN {utility['analyze'] or ''}".strip().upper())


def parse_query(sql: str, dialect: str = "athena") -> Query:
    """Return the one query of a text; see `parse_statement`."""
    statement = parse_statement(sql, dialect)
    if not isinstance(statement, Query) or statement.plan:
        raise BadArguments(f"a SELECT statement is needed here, not {sql.strip()[:40]!r}")
    return statement


def _query(sql: str, dialect: str) -> exp.Query:
    sql = _LEADING_COMMENTS.sub("", sql + "\n")
    first = re.match(r"[\s(]*(\w*)", sql)
    if first is None or first[1].upper() not in ("SELECT", "WITH", "TABLE"):
        raise BadArguments(
            f"only SELECT, WITH, EXPLAIN, SHOW and DESCRIBE statements can be run, not {sql.strip()[:40]!r}"
        )
    try:
        reader = AthenaQueries() if dialect == "athena" else Dialect.get_or_raise(dialect)
        found = [statement for statement in reader.parse(sql) if statement is not None]
    except SqlglotError as error:
        raise BadArguments(f"the SQL cannot be parsed: {plain_message(error)}") from error
    if len(found) != 1:
        raise BadArguments(f"give one statement, not {len(found)}")
    query = found[0]
    if not isinstance(query, exp.Query) or query.find(*_WRITES):
        raise BadArguments("the statement writes; only statements that read can be run")
    if placeholder := query.find(exp.Placeholder, exp.Parameter):
        raise BadArguments(f"parameter {placeholder.sql(dialect)} has no value; bind it first")
    if dialect == "athena":
        _check_athena(query)
    return query


def _check_athena(query: exp.Query) -> None:
    for kind, what in _NOT_ATHENA.items():
        if query.find(kind):
            raise BadArguments(f"Athena has no {what}")
    if any(distinct.args.get("on") for distinct in query.find_all(exp.Distinct)):
        raise BadArguments("Athena has no DISTINCT ON (use row_number() in an outer query)")
    for table in query.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise BadArguments(f"{table.sql('athena')} is no table; only tables of the lake can be read")


def lake_tables(query: exp.Expr) -> list[exp.Table]:
    """Return the tables that are not common table expressions."""
    named = {cte.alias_or_name.lower() for cte in query.find_all(exp.CTE)}
    found = [table for table in query.find_all(exp.Table) if isinstance(table.this, exp.Identifier)]
    return [table for table in found if table.db or table.name.lower() not in named]


def check_aliases(query: exp.Query, columns: Mapping[str, Sequence[str]]) -> None:
    """Refuse an alias of the SELECT list in WHERE, GROUP BY or HAVING, as Athena does.

    DuckDB would take it. A select whose sources are not all known is passed over.

    Parameters
    ----------
    query : sqlglot Expression
    columns : mapping
        Columns of each table, by its name in lower case.

    Raises
    ------
    BadArguments
        When an alias is used where Athena knows only columns.
    """
    for scope in traverse_scope(query):
        select = scope.expression
        known = _source_columns(scope, columns)
        if not isinstance(select, exp.Select) or known is None:
            continue
        aliases = {item.alias.lower() for item in select.expressions if isinstance(item, exp.Alias)} - known
        for clause, words in _CLAUSES.items():
            part = select.args.get(clause)
            for column in part.find_all(exp.Column) if part is not None else ():
                own = not column.table and column.find_ancestor(exp.Select) is select
                if own and column.name.lower() in aliases:
                    raise BadArguments(
                        f"{column.name} is an alias of this SELECT: Athena does not know it in "
                        f"{words}; repeat the expression, or use GROUP BY 1 or an outer query"
                    )


def _source_columns(scope: Scope, columns: Mapping[str, Sequence[str]]) -> set[str] | None:
    """Return the columns that the FROM clause offers, None when they cannot be told."""
    known: set[str] = set()
    for source in scope.sources.values():
        if isinstance(source, exp.Table):
            names = columns.get(source.name.lower())
        else:
            names = None if source.expression.is_star else getattr(source.expression, "named_selects", None)
        if not names:
            return None
        known.update(name.lower() for name in names)
    return known


def plain_message(error: Exception) -> str:
    """Return the first line of an error's message, without terminal codes and the kind of error."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return re.sub(r"^([A-Z]\w+ )+Error: ", "", text.splitlines()[0]) if text else type(error).__name__
