"""Estimates are the arithmetic of the price list, worked out by hand here."""

import json
from dataclasses import fields

import pytest

from astrolake.batch_processing.cost import Usage, estimate, rate, scenario, scenario_names, total_usd
from astrolake.batch_processing.prices import (
    Prices,
    athena_tb,
    charged_hours,
    lambda_gb_seconds,
    load_prices,
)
from astrolake.cli import main
from astrolake.errors import BadArguments


def usd(usage):
    return {line.what: line.usd for line in estimate(usage)}


def test_every_price_has_a_unit_and_a_page_and_the_file_a_date():
    prices = load_prices()
    assert prices.date == "2025-06-01"
    assert prices.region == "us-east-1"
    for key, entry in prices.table.items():
        assert entry["usd"] > 0, key
        assert entry["unit"]
        assert entry["source"].startswith("https://aws.amazon.com/")
        tiers = entry.get("tiers", [[None, entry["usd"]]])
        assert tiers[0][1] == entry["usd"]
        assert tiers[-1][0] is None
    with pytest.raises(BadArguments, match="no price 's3.gold'; there are "):
        prices.entry("s3.gold")


def test_a_year_of_ten_terabytes():
    found = usd(Usage(months=12, images_gb=10_240, catalog_gb=1_024))
    assert found == {"images in standard": pytest.approx(2826.24), "catalogs": pytest.approx(282.624)}


def test_more_is_cheaper_by_tiers():
    # 50 TB at 0.023, 10 TB at 0.022.
    assert usd(Usage(images_gb=61_440)) == {"images in standard": pytest.approx(1177.6 + 225.28)}
    # 10 TB at 0.09, 10 TB at 0.085.
    assert usd(Usage(transfer_gb=20_480)) == {"transfer out of AWS": pytest.approx(921.6 + 870.4)}


def test_images_age_into_cheaper_classes():
    found = usd(Usage(months=12, images_gb=1_024, image_mb=4, ia_after_days=30, glacier_after_days=90))
    images = 262_144
    assert found == {
        "images in standard": pytest.approx(1_024 * 0.023),
        "images in standard_ia": pytest.approx(2 * 1_024 * 0.0125),
        "images to standard_ia": pytest.approx(images * 0.01 / 1000),
        "images in glacier_ir": pytest.approx(9 * 1_024 * 0.004),
        "images to glacier_ir": pytest.approx(images * 0.02 / 1000),
    }
    young = usd(Usage(months=1, images_gb=1_024, ia_after_days=60, glacier_after_days=120))
    assert young == {"images in standard": pytest.approx(23.552)}
    assert list(usd(Usage(months=4, images_gb=1, glacier_after_days=30))) == [
        "images in standard",
        "images in glacier_ir",
        "images to glacier_ir",
    ]


def test_queries_are_rounded_up_to_the_megabyte_and_to_ten():
    assert athena_tb(1, 1024, 10) == 1
    assert athena_tb(4, 0.0001, 10) == 40 / 1024**2
    assert athena_tb(1, 10.2 / 1024, 10) == 11 / 1024**2
    assert athena_tb(1, 11 / 1024, 10) == 11 / 1024**2
    assert usd(Usage(queries=10, scanned_gb=0.1)) == {"queries": pytest.approx(10 * 103 / 1024**2 * 5)}


def test_the_function_is_charged_by_the_millisecond():
    assert lambda_gb_seconds(50, 30, 1) == 1500
    assert lambda_gb_seconds(1, 0.0001, 2) == pytest.approx(0.002)
    found = usd(Usage(invocations=1_000_000, lambda_s=2, lambda_gb=2, alerts=1000))
    assert found["function"] == pytest.approx(66.6668)
    assert found["invocations"] == pytest.approx(0.2)
    assert found["messages"] == pytest.approx(1.2)
    assert found["S3 writes"] == pytest.approx(10)
    assert found["S3 reads"] == pytest.approx(1.6)
    assert found["alerts by e-mail"] == pytest.approx(0.02)


def test_glue_is_charged_by_the_second_from_a_minute_on():
    assert charged_hours(0, 60) == 0
    assert charged_hours(10, 60) == 60 / 3600
    assert charged_hours(90.2, 60) == 91 / 3600
    assert usd(Usage(glue_runs=3, glue_s=20, glue_dpu=2)) == {"Glue jobs": pytest.approx(3 * 2 * 0.44 / 60)}


def test_fields_take_their_measured_time_on_a_share_of_an_instance():
    core_s, basis = rate("field_core_s")
    start_s, _ = rate("field_start_s")
    assert "measured: benchmarks/README.md" in basis
    # Four jobs of two vCPUs at a time on eight.
    hours = 1000 * (start_s + core_s) / 4 / 3600
    spot = usd(Usage(fields=1000))["extraction of fields"]
    assert spot == pytest.approx(hours * 0.136)
    assert usd(Usage(fields=1000, spot=0))["extraction of fields"] == pytest.approx(hours * 0.34)
    five = usd(Usage(fields=1000, bands=5))["extraction of fields"]
    assert five == pytest.approx(1000 * (start_s + core_s * 5 / 3) / 4 / 3600 * 0.136)


def test_a_million_galaxies_and_a_survey_of_redshifts():
    assert usd(Usage(galaxies=1_000_000)) == {
        "classification of galaxies": pytest.approx(6667 / 3600 * 0.7364)
    }
    found = usd(Usage(photoz=500_000_000))
    hours = 12_929 / 3600 * 2  # 500e6 / 38673 s of a core, two vCPUs each
    assert found == {
        "redshifts, processors": pytest.approx(hours * 0.052624),
        "redshifts, memory": pytest.approx(hours * 4 * 0.0057785),
    }


@pytest.mark.parametrize("name", scenario_names())
def test_scenarios_stay_below_what_the_documents_say(name):
    found = scenario(name)
    assert found.claim["low"] <= found.claim["high"]
    assert 0 < total_usd(estimate(found.usage)) <= found.claim["high"]


def test_another_price_list_makes_another_estimate():
    prices = load_prices()
    double = {key: entry | {"usd": entry["usd"] * 2, "tiers": None} for key, entry in prices.table.items()}
    usage = scenario("serverless-tier").usage
    doubled = estimate(usage, Prices("2030-01-01", "mars-1", "", double))
    assert total_usd(doubled) == pytest.approx(2 * total_usd(estimate(usage)))


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        ({"images_gb": -1}, "images_gb -1"),
        ({"images_gb": float("nan")}, "images_gb nan"),
        ({"image_mb": 0}, "image_mb 0"),
        ({"ia_after_days": 30, "glacier_after_days": 45}, "give 60 or more"),
    ],
)
def test_what_is_no_quantity_is_refused(usage, message):
    with pytest.raises(BadArguments, match=message):
        Usage(**usage)


def test_the_command_prints_scenarios(capsys):
    assert main(["cost", "--all"]) == 0
    shown = capsys.readouterr().out
    assert "3,108.86    3,000 to 3,600" in shown
    assert "An estimate, with prices of 2025-06-01 in us-east-1" in shown
    assert main(["cost", "--scenario", "galaxies-1m"]) == 0
    shown = capsys.readouterr().out
    assert "The document says 100 to 200 USD per run." in shown
    assert "claimed: 100 to 200 in the survey project's document; not measured here" in shown
    assert main(["cost", "--scenario", "nothing"]) == 2
    assert "there are serverless-tier, storage-year" in capsys.readouterr().err


def test_the_command_takes_quantities(capsys):
    assert main(["cost", "--images-tb", "10", "--catalog-tb", "1", "--months", "12", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["is_estimate"]
    assert found["estimates"][0]["total_usd"] == pytest.approx(3108.864)
    assert main(["cost", "--scenario", "storage-year", "--months", "1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimates"][0]["total_usd"] == pytest.approx(259.072)


def test_every_quantity_is_a_flag_and_costs_something(capsys):
    with_flags = {"image_mb", "ia_after_days", "glacier_after_days", "spot", "bands", "months"}
    beside = {"lambda_s", "lambda_gb", "glue_dpu", "glue_s", "scanned_gb"} | with_flags
    for item in fields(Usage):
        argv = ["cost", f"--{item.name.replace('_', '-')}", "70", "--format", "json"]
        assert main(argv) == 0
        (found,) = json.loads(capsys.readouterr().out)["estimates"]
        assert found["usage"][item.name] == 70
        assert (found["total_usd"] > 0) == (item.name not in beside), item.name


@pytest.mark.parametrize(
    "flags", [["--galaxies", "1" + "0" * 400], ["--lambda-s", "1e308"], ["--image-mb", "1e-320"]]
)
def test_quantities_beyond_all_measure_are_bad_arguments(flags, capsys):
    assert main(["cost", "--invocations", "3", *flags]) == 2
    assert flags[0][2:].replace("-", "_") in capsys.readouterr().err
