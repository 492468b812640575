"""How much each query below sql/queries scans on the lake that `make demo` makes.

    python benchmarks/sql_scan.py demo/lake

Beside it the bytes of the tables that the query names. A query about a place reads them once for each of
its four ranges; on a table of one row group that is four times the whole.
"""

from __future__ import annotations

import sys
from pathlib import Path

from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.sql import bind, box_ranges, cone_ranges, parameter_names, run_query
from astrolake.lake.sql_connection import sql_tables
from astrolake.lake.sql_scan import scan_size
from astrolake.lake.sql_statement import parse_query

QUERIES = Path(__file__).resolve().parent.parent / "sql" / "queries"
NAMES = {
    **{"table": "objects", "catalog": "specz", "left": "objects", "right": "gaia", "z_column": "z"},
    **{"left_table": "objects", "right_table": "gaia", "left_key": "object_id", "right_key": "source_id"},
}


def values(lake: Lake) -> dict[str, object]:
    """Return a value for every parameter, about the middle of the lake's objects."""
    middle = "SELECT approx_percentile(ra, 0.5) AS ra, approx_percentile(dec, 0.5) AS dec FROM objects"
    place = run_query(lake, middle).to_pylist()[0]
    edges = {
        f"{axis}_{end}": place[axis] + step for axis in place for end, step in (("min", -0.01), ("max", 0.01))
    }
    given = {"band": "r", "method": "random_forest", "min_flux": 100.0, "n_rows": 10, "radius_arcsec": 1.0}
    given |= {"survey": "demo", "max_mag_r": 20.0, "max_colour_err": 0.1, "max_sep_arcsec": 1.0}
    return {**given, **place, **edges, "z_min": 0.2, "z_max": 0.4}


def main(uri: str) -> None:
    """Print the table."""
    lake = Lake.open(uri)
    known, common = sql_tables(lake), values(lake)
    sizes = {
        name: sum(f.size for f in read_snapshot(lake.delta_storage(known[name])).files) for name in known
    }
    print(
        "| query | scanned bytes | files | bytes of the tables | share |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for path in sorted(QUERIES.glob("*.sql")):
        sql, given = path.read_text(), dict(common)
        if path.stem == "cone_search":
            given["radius_arcsec"] = 30.0
            given |= cone_ranges(given["ra"], given["dec"], 30.0)
        if path.stem == "box_search":
            given |= box_ranges(*(given[edge] for edge in ("ra_min", "ra_max", "dec_min", "dec_max")))
        bound = bind(
            sql,
            {name: given[name] for name in parameter_names(sql)},
            {name: value for name, value in NAMES.items() if f"${{{name}}}" in sql},
        )
        scan, whole = scan_size(lake, bound), sum(sizes[name] for name in parse_query(bound).tables)
        share = f"{100 * scan.bytes / whole:.1f} %"
        print(f"| `{path.stem}` | {scan.bytes:,} | {scan.files} of {scan.files_of} | {whole:,} | {share} |")


if __name__ == "__main__":
    main(sys.argv[1])
