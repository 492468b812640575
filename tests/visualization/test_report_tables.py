"""The tables of the report."""

import numpy as np
import pandas as pd

from astrolake.visualization.report_tables import answer, lake_facts, rejects_table, steps_table


def runs():
    start = pd.to_datetime(["2026-01-01 10:00:00", "2026-01-01 09:00:00"])
    return pd.DataFrame(
        {
            **{"run_id": ["b", "a"], "job": ["extract_sources", "ingest_images"], "status": ["done", "done"]},
            **{"rows_in": [12, 14], "rows_out": [12, 12], "rows_rejected": [0, 2]},
            **{"started_at": start, "ended_at": start + pd.to_timedelta([5.26, 10.0], unit="s")},
        }
    )


def test_steps_come_in_their_order_with_their_seconds(make_query):
    rows = steps_table(make_query(runs=runs())).rows
    assert rows["job"].tolist() == ["ingest_images", "extract_sources"]
    assert rows["seconds"].tolist() == [10.0, 5.3]
    assert rows["rejected"].tolist() == [2, 0]


def test_a_run_that_has_not_ended_has_no_seconds(make_query):
    table = runs()
    table.loc[0, "ended_at"] = pd.NaT
    assert np.isnan(steps_table(make_query(runs=table)).rows["seconds"].iloc[1])


def test_a_failed_run_says_so(make_query):
    table = runs()
    table.loc[0, "status"] = "failed"
    assert steps_table(make_query(runs=table)).rows["job"].tolist() == [
        "ingest_images",
        "extract_sources (failed)",
    ]


def test_rejects_are_counted_by_reason(make_query):
    rejects = pd.DataFrame(
        {
            "job": "ingest_images",
            "error_type": ["NotFits", "NotFits", "Truncated"],
            "source": list("bac"),
            "message": "m",
        }
    )
    rows = rejects_table(make_query(rejects=rejects)).rows
    assert rows["n"].tolist() == [2, 1]
    assert rows["example"].tolist() == ["a", "c"]


def test_a_lake_that_never_rejected_anything_has_an_empty_table(make_query):
    assert rejects_table(make_query()).rows.empty
    assert steps_table(make_query()).rows.empty


def test_answer_keeps_the_query(make_query):
    table = answer(make_query(t=pd.DataFrame({"a": [1, 2]})), "T", "SELECT sum(a) AS s FROM t")
    assert table.sql == "SELECT sum(a) AS s FROM t"
    assert table.rows["s"].tolist() == [3]


def test_facts_count_what_is_there(make_query):
    images = pd.DataFrame({"image_type": ["science", "mask", "science"]})
    matches = pd.DataFrame({"right_id": [1.0, np.nan]})
    facts = lake_facts(make_query(images=images, crossmatches_objects_x_gaia=matches))
    assert [(fact.label, fact.value) for fact in facts] == [("science images", 2), ("matches with gaia", 1)]
