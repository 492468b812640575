"""Values as a report writes them."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from astrolake.visualization.report_values import show


@pytest.mark.parametrize(
    ("value", "column", "expected"),
    [
        (1234567, "n", "1,234,567"),
        (np.int64(1234567), "object_id", "1234567"),
        (np.int64(8_040_058_608_073_694_47), "_healpix_29", "804005860807369447"),
        (1234567.0, "n", "1,234,567"),
        (0.123456789, "ra", "0.123457"),
        (np.float32(0.5), "x", "0.5"),
        (np.nan, "x", "–"),
        (np.inf, "x", "inf"),
        (None, "x", "–"),
        (pd.NA, "x", "–"),
        (pd.NaT, "x", "–"),
        (True, "x", "yes"),
        (np.bool_(False), "x", "no"),
        (datetime(2026, 1, 2, 3, 4, 5, 678), "t", "2026-01-02 03:04:05"),
        (pd.Timestamp("2026-01-02 03:04:05"), "t", "2026-01-02 03:04:05"),
        ("text", "x", "text"),
        (np.array([1, 2]), "x", "[1 2]"),
    ],
)
def test_value_is_written(value, column, expected):
    assert show(value, column) == expected


def test_long_texts_are_cut():
    text = show("a" * 500)
    assert len(text) == 200
    assert text.endswith("…")
