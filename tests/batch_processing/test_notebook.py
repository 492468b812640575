"""The notebook runs from its first to its last cell on the local twin, and is committed without outputs."""

from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "sky_analysis.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_committed_without_outputs_and_has_a_parameters_cell(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert [cell for cell in code if "parameters" in cell.metadata.get("tags", ())] == code[:1]


def test_it_answers_its_questions(notebook, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = first.source.replace("SIDE_PX = 1024", "SIDE_PX = 512")
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.get("text", "") for output in outputs)
    assert printed.count("rejected: ") == 2
    tables = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(tables) == 5
    by_band = tables[2]
    assert all(f"<td>{band}</td>" in by_band for band in "gri")
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4
    assert all(len(picture) > 10_000 for picture in pictures)
