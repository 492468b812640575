import errno
import os

import pytest
from fsspec.implementations.local import LocalFileSystem

from astrolake.errors import BadArguments, BadInput
from astrolake.lake.listing import list_files


@pytest.fixture
def night(tmp_path):
    """A directory with files at several depths, and things that are no input."""
    root = tmp_path / "my night"
    inputs = ("b.fits", "a.fits", "notes.txt", "r band/c d.fits")
    for name in (*inputs, ".cache/x.fits", ".hidden.fits", "t/_delta_log/0.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _names(night, *patterns: str) -> list[str]:
    return [uri.removeprefix(f"file://{night}/") for uri in list_files(patterns)]


def test_a_directory_is_searched_to_the_bottom(night):
    assert _names(night, str(night)) == ["a.fits", "b.fits", "notes.txt", "r band/c d.fits"]


def test_a_trailing_slash_changes_nothing(night):
    assert _names(night, f"{night}/") == _names(night, str(night))


def test_a_glob_takes_what_it_matches(night):
    assert _names(night, f"{night}/*.fits") == ["a.fits", "b.fits"]


def test_a_glob_reaches_into_directories_with_spaces(night):
    assert _names(night, f"{night}/*/*.fits") == ["r band/c d.fits"]


def test_a_file_uri_is_literal(night):
    assert _names(night, f"file://{night}/r band/c d.fits") == ["r band/c d.fits"]


def test_each_file_comes_once_and_sorted(night):
    assert _names(night, f"{night}/b.fits", str(night), f"{night}/?.fits") == _names(night, str(night))


def test_a_file_whose_name_looks_like_a_glob_is_that_file(night):
    (night / "[ab].fits").touch()
    assert _names(night, f"{night}/[ab].fits") == ["[ab].fits"]


def test_a_hidden_file_that_is_named_is_taken(night):
    assert _names(night, f"{night}/.hidden.fits") == [".hidden.fits"]


def test_a_directory_below_a_hidden_one_may_be_named(night):
    assert _names(night, f"{night}/.cache") == [".cache/x.fits"]


def test_a_named_file_that_is_missing_is_left_to_the_job(night):
    assert _names(night, f"{night}/lost.fits", f"{night}/a.fits") == ["a.fits", "lost.fits"]


def test_a_broken_link_in_a_directory_is_left_to_the_job(night):
    (night / "r band" / "broken.fits").symlink_to("/nowhere/at all")
    assert "r band/broken.fits" in _names(night, str(night))


def test_a_directory_linked_in_is_searched(night, tmp_path):
    (tmp_path / "disk2").mkdir()
    (tmp_path / "disk2" / "z.fits").touch()
    (night / "more").symlink_to(tmp_path / "disk2")
    assert "more/z.fits" in _names(night, str(night))


def test_an_empty_directory_is_named(tmp_path):
    with pytest.raises(BadInput, match="holds no files") as caught:
        list_files([str(tmp_path)])
    assert caught.value.kind == "EmptyInput"
    assert str(tmp_path) in str(caught.value)


def test_a_glob_that_matches_nothing_is_named(night):
    with pytest.raises(BadInput, match=r"\*\.fz: the pattern matches no file"):
        list_files([f"{night}/*.fz"])


def test_a_directory_that_a_glob_matches_is_searched(night):
    assert _names(night, f"{night}/r*") == ["r band/c d.fits"]


def test_a_glob_passes_over_hidden_files_unless_it_names_them(night):
    assert _names(night, f"{night}/*") == ["a.fits", "b.fits", "notes.txt", "r band/c d.fits"]
    assert _names(night, f"{night}/.h*") == [".hidden.fits"]


def test_links_in_a_circle_end(night):
    (night / "r band" / "round").symlink_to(night)
    assert "r band/c d.fits" in _names(night, str(night))
    assert len(_names(night, str(night))) == 4


def test_a_manifest_lists_files_globs_and_directories(night, tmp_path):
    manifest = tmp_path / "my list.txt"
    manifest.write_text(f"# night 1\n{night}/a.fits\n\n  {night}/r*  \nfile://{night}/notes.txt\r\n")
    assert _names(night, f"@{manifest}") == ["a.fits", "notes.txt", "r band/c d.fits"]


def test_a_manifest_may_name_manifests(night, tmp_path):
    (tmp_path / "inner.txt").write_text(f"{night}/b.fits\n")
    (tmp_path / "outer.txt").write_text(f"@{tmp_path}/inner.txt\n{night}/a.fits\n")
    assert _names(night, f"@{tmp_path}/outer.txt") == ["a.fits", "b.fits"]


def test_a_manifest_that_names_itself_is_refused(tmp_path):
    manifest = tmp_path / "loop.txt"
    manifest.write_text(f"@{manifest}\n")
    with pytest.raises(BadInput, match=r"loop\.txt names itself"):
        list_files([f"@{manifest}"])


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"manifest .*lost\.txt does not exist"):
        list_files([f"@{tmp_path}/lost.txt"])


def test_a_manifest_without_names_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing tonight\n")
    with pytest.raises(BadInput, match=r"empty\.txt names no files"):
        list_files([f"@{tmp_path}/empty.txt"])


def test_a_manifest_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "image.fits").write_bytes(b"SIMPLE  = \xff\xfe\x00")
    with pytest.raises(BadInput, match=r"image\.fits is no text file"):
        list_files([f"@{tmp_path}/image.fits"])


def test_another_scheme_is_refused():
    with pytest.raises(BadArguments, match="gs://"):
        list_files(["gs://bucket/night"])


# Tests may run as root, whom no file mode stops.
@pytest.fixture
def forbidden(night, monkeypatch) -> str:
    """A directory below the night that may not be listed."""
    path = str(night / "r band")
    scan = os.scandir

    def scandir(where):
        if str(where).rstrip("/") == path:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(where)

    monkeypatch.setattr(os, "scandir", scandir)
    return path


def test_a_directory_that_may_not_be_listed_is_named(forbidden):
    with pytest.raises(BadInput, match="no permission to list it") as caught:
        list_files([forbidden])
    assert caught.value.kind == "NoPermission"


def test_a_directory_is_not_taken_without_its_forbidden_part(night, forbidden):
    with pytest.raises(BadInput, match=r"no permission to list it .*r band"):
        list_files([str(night)])


def test_a_manifest_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "list.txt").write_text("a\n")
    monkeypatch.setattr(LocalFileSystem, "open", denied)
    with pytest.raises(BadInput, match=r"list\.txt: no permission to read it"):
        list_files([f"@{tmp_path}/list.txt"])
