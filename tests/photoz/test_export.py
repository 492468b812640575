"""The layout that qp.read and RAIL read."""

import numpy as np
import pytest

from astrolake.errors import BadArguments
from astrolake.photoz.export import write_qp, write_qp_blocks
from astrolake.photoz.grid import RedshiftGrid

h5py = pytest.importorskip("h5py")
GRID = RedshiftGrid(0.0, 0.5, 0.1)
PDF = np.array([[0, 2, 6, 2, 0, 0], [5, 5, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], np.float32)


@pytest.mark.parametrize(("kind", "shared", "rows"), [("hist", "bins", "pdfs"), ("interp", "xvals", "yvals")])
def test_file_is_qps(tmp_path, kind, shared, rows):
    ancil = {"z_mode": [0.2, 0.0, np.nan], "z_spec": [0.2, 0.1, 0.3], "template": ["Ell1", None, "SB"]}
    write_qp(tmp_path / "p.hdf5", PDF, GRID, ancil | {"object_id": [7, 8, 2**60]}, kind)
    with h5py.File(tmp_path / "p.hdf5") as file:
        assert sorted(file) == ["ancil", "data", "meta"]
        assert file["meta/pdf_name"][()].tolist() == [kind.encode()]
        assert file["meta/pdf_version"][()].tolist() == [0]
        expected = GRID.edges if kind == "hist" else GRID.z
        np.testing.assert_allclose(file[f"meta/{shared}"][()], expected[None])
        found = file[f"data/{rows}"][()]
        assert found.dtype == np.float64
        np.testing.assert_allclose(found[0].sum() * GRID.step, 1.0, rtol=1e-6)
        np.testing.assert_allclose(found[1], PDF[1])
        assert np.isnan(found[2]).all()
        assert sorted(file["ancil"]) == ["object_id", "redshift", "template", "zmode"]
        assert file["ancil/object_id"][()].tolist() == [7, 8, 2**60]
        assert file["ancil/template"][()].tolist() == [b"Ell1", b"", b"SB"]


def test_blocks_follow_each_other(tmp_path):
    blocks = (((PDF[:2] + k, {"n": [k, k]})) for k in range(1, 4))
    assert write_qp_blocks(tmp_path / "p.hdf5", blocks, GRID) == 6
    with h5py.File(tmp_path / "p.hdf5") as file:
        assert file["ancil/n"][()].tolist() == [1, 1, 2, 2, 3, 3]
        assert file["data/pdfs"].shape == (6, 6)


@pytest.mark.parametrize(
    ("ancil", "message"),
    [({"a": [1]}, "1 values of a for 3"), ({"a": [object()] * 3}, "neither numbers nor")],
)
def test_bad_columns_leave_no_file(tmp_path, ancil, message):
    with pytest.raises(BadArguments, match=message):
        write_qp(tmp_path / "p.hdf5", PDF, GRID, ancil)
    assert not list(tmp_path.iterdir())


def test_blocks_of_other_columns_are_refused(tmp_path):
    blocks = [(PDF, {"a": [1, 2, 3]}), (PDF, {"b": [1, 2, 3]})]
    with pytest.raises(BadArguments, match="different columns"):
        write_qp_blocks(tmp_path / "p.hdf5", blocks, GRID)
