"""Files of any format through one door: partitions, damage, object stores, real surveys."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from astrolake.data_access.catalog_files import (
    InputFile,
    ReadOptions,
    file_schema,
    list_inputs,
    merge_schemas,
    read_batches,
    row_count,
)
from astrolake.data_access.normalise import normalise_batch, resolve_columns
from astrolake.errors import BadArguments, BadInput
from astrolake.lake.storage import filesystem


def read_all(files, options=ReadOptions()):  # noqa: B008
    schema = merge_schemas([(file.uri, file_schema(file, options)) for file in files])
    batches = [batch for file in files for batch in read_batches(file, schema, options)]
    return pa.Table.from_batches([batch.records for batch in batches], schema=schema)


def test_files_of_different_formats_and_columns_make_one_table(tmp_path):
    Table({"id": [1], "ra": [1.5], "dec": [2.5], "mag": [20.0]}).write(tmp_path / "a.fits")
    (tmp_path / "b.csv").write_text("id,ra,dec,flag\n2,3,4,true\n")
    pq.write_table(pa.table({"id": ["x3"], "ra": [5.0], "dec": [6.0]}), tmp_path / "c.parquet")
    table = read_all(list_inputs([str(tmp_path)]))
    assert table.to_pydict() == {
        "id": ["1", "2", "x3"],
        "ra": [1.5, 3.0, 5.0],
        "dec": [2.5, 4.0, 6.0],
        "mag": [20.0, None, None],
        "flag": [None, True, None],
    }


def test_hive_partition_values_are_columns(tmp_path):
    for year, night in (("2020", "a"), ("2021", "__HIVE_DEFAULT_PARTITION__")):
        leaf = tmp_path / f"year={year}" / f"night={night}"
        leaf.mkdir(parents=True)
        pq.write_table(pa.table({"ra": [1.0, 2.0], "dec": [0.0, 0.0]}), leaf / "x.parquet")
    table = read_all(list_inputs([str(tmp_path)]))
    assert table.column("year").to_pylist() == [2020, 2020, 2021, 2021]
    assert table.column("night").to_pylist() == ["a", "a", None, None]


def test_partition_columns_can_be_excluded(tmp_path):
    (tmp_path / "year=2020").mkdir()
    pq.write_table(pa.table({"ra": [1.0]}), tmp_path / "year=2020" / "x.parquet")
    assert read_all(list_inputs([str(tmp_path)]), ReadOptions(exclude=("year",))).schema.names == ["ra"]


def test_row_count_is_known_for_fits_and_parquet_only(tmp_path):
    for name in ("a.fits", "b.parquet", "c.ecsv", "d.vot"):
        Table({"ra": [1.0, 2.0]}).write(tmp_path / name, **({"format": "votable"} if name == "d.vot" else {}))
    counts = [row_count(file, ReadOptions()) for file in list_inputs([str(tmp_path)])]
    assert counts == [2, 2, None, None]


def test_a_missing_file_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_schema(InputFile(f"file://{tmp_path}/gone.fits", "fits"), ReadOptions())


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(BadArguments, match="orc"):
        row_count(InputFile(f"file://{tmp_path}/a", "orc"), ReadOptions())


def test_batches_of_no_rows_are_refused(tmp_path):
    with pytest.raises(BadArguments, match="batch_rows"):
        next(read_batches(InputFile("a", "csv"), pa.schema([]), ReadOptions(), batch_rows=0))


def test_errors_of_the_caller_are_not_taken_for_damage(write):
    [file] = list_inputs([str(write("a.csv", "ra,dec\n1,2\n"))])
    with pytest.raises(ValueError, match=r"^mine$"):  # noqa: PT012
        for _ in read_batches(file, file_schema(file, ReadOptions()), ReadOptions()):
            raise ValueError("mine")


def test_objects_in_a_store_are_listed_and_read(tmp_path, monkeypatch):
    pytest.importorskip("flask", reason="the S3 twin needs moto[server]")
    boto3, moto_server = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "us-east-1"}
        fs = filesystem("s3://sky", options)
        client = boto3.client("s3", endpoint_url=options["AWS_ENDPOINT_URL"], region_name="us-east-1")
        client.create_bucket(Bucket="sky")
        table = Table({"ra": np.arange(3.0), "dec": np.zeros(3)})
        table.write(tmp_path / "a.fits")
        table.write(tmp_path / "b.parquet")
        table.write(tmp_path / "c.ecsv")
        for name in ("a.fits", "b.parquet", "c.ecsv"):
            fs.put(str(tmp_path / name), f"sky/cat/{name}")
        fs.pipe("sky/cat/_delta/x.parquet", b"")
        read_options = ReadOptions(storage_options=options)
        files = list_inputs(["s3a://sky/cat/"], storage_options=options)
        assert [file.uri for file in files] == [
            "s3://sky/cat/a.fits",
            "s3://sky/cat/b.parquet",
            "s3://sky/cat/c.ecsv",
        ]
        assert all(file.size > 0 for file in files)
        assert read_all(files, read_options).column("ra").to_pylist() == [0, 1, 2] * 3
        assert len(list_inputs(["s3://sky/cat/*.fits"], storage_options=options)) == 1
        with pytest.raises(BadInput, match="s3://sky/none"):
            list_inputs(["s3://sky/none"], storage_options=options)
    finally:
        server.stop()


HEADERLESS = {"columns": ("ra", "dec", "band", "mag", "err")}


@pytest.mark.parametrize(
    ("name", "rows", "options"),
    [
        ("catalogs/3hsp.csv", 2013, {}),
        ("catalogs/CMC14_10068.txt", 3903, HEADERLESS),
        ("catalogs/coadd_for_3325_5_110.fit", 657, {}),
        ("catalogs/gcvs.parquet", 59099, {}),
        ("catalogs/gd1_photo.fits", 3724, {}),
        ("catalogs/panstarrs_308.csv", 2122, {}),
        ("catalogs/sdss_308.csv", 367, {}),
        ("catalogs/tycho2-mag6.fits", 4683, {}),
        ("images_decam/case6/chunk-03687.fits", 897, {}),
        ("images_decam/case8/chunk-05610.fits", 0, {}),
        ("images_decam/case6/survey-ccds-1.fits.gz", 6, {}),
        ("images_decam/case6/tycho2.kd.fits", 236, {}),
        ("images_infrared/spitzer_example_catalog.xml", 224, {}),
        ("photoz/boss_dr10_0.csv", 6000, {}),
        ("photoz/boss_dr10_0.fits.gz", 4999, {}),
        ("photoz/bpz_catalog.cat", 15650, {}),
        ("photoz/hdfn_fs99_eazy.cat", 1067, {}),
        ("photoz/skyserver_dr14_10k.csv.gz", 10000, {}),
        ("photoz/zcosmost_bright20k.csv.gz", 17358, {}),
        ("star_galaxy/sgCatalogue_galaxy_0.txt", 2000, {}),
        ("star_galaxy/sgCatalogue_star_3.txt", 800, {}),
        ("large_scale_structure/cbpdr7mask.dat", 9313, {}),
        ("large_scale_structure/vollim_dr7_cbp_102709.fits", 120606, {}),
        ("transients/LINEARattributesFinalApr2013.dat.gz", 6146, {}),
    ],
)
def test_published_catalogs_have_their_published_number_of_rows(survey_data, read, name, rows, options):
    catalog = read(survey_data / name, **options)
    assert catalog.table.num_rows == rows
    assert catalog.malformed == []


@pytest.mark.parametrize(
    ("name", "source_ids"),
    [
        ("catalogs/sdss_308.csv", (1237648721229774920, 1237648721229774901)),
        ("catalogs/panstarrs_308.csv", (106301772306797903, 106261794227703864)),
    ],
)
def test_every_row_of_real_catalogs_is_accepted_with_its_identifier(survey_data, read, name, source_ids):
    catalog = read(survey_data / name)
    [batch] = catalog.table.combine_chunks().to_batches()
    column_map = resolve_columns(catalog.table.schema)
    rows, rejects = normalise_batch(batch, np.array(catalog.row_numbers), column_map, catalog.file.uri)
    assert rejects == []
    assert rows.column("source_id").to_pylist()[:2] == list(source_ids)


def test_real_sexagesimal_positions_are_refused_with_the_remedy(survey_data, read):
    with pytest.raises(BadArguments, match=r"column R\.A\. is string.*convert sexagesimal"):
        resolve_columns(read(survey_data / "catalogs" / "3hsp.csv").schema)


def test_hdf5_is_refused_with_the_remedy(survey_data):
    with pytest.raises(BadInput, match=r"gd1_candidates\.hdf5: cannot read HDF5; write the table as Parquet"):
        list_inputs([str(survey_data / "catalogs" / "gd1_candidates.hdf5")])


def test_a_directory_of_pixel_files_with_empty_ones_reads_as_one_catalog(survey_data):
    files = list_inputs([str(survey_data / "images_decam" / "case8" / "chunk-*.fits")])
    table = read_all(files)
    assert table.num_rows == 884 + 0 + 10 + 0
    assert table.schema.field("source_id").type == pa.int64()
    assert len(set(table.column("source_id").to_pylist())) == table.num_rows
