"""Packs the function as a zip archive for Lambda: code, libraries cut to what it imports, compiled kernels.

Run by `make lambda-zip`: in an environment of the function's Python, on Linux, x86-64, with a C compiler. The
same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import astrolake

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "lambda"
#: Lambda's limit for what an archive unpacks to.
MOST_BYTES = 250 * 1000 * 1000
#: Lambda's first Python on Amazon Linux 2023 (glibc 2.34): numpy does not load on the older system of 3.11.
PYTHON = "3.12"
_PLATFORMS = (
    "manylinux2014_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_28_x86_64",
)
#: What is left out, as patterns below the root: tests, what only compilers and type checkers read, ...
_LEFT_OUT = (
    *(
        "**/tests",
        "**/test",
        "**/*.pyi",
        "**/*.pxd",
        "**/*.pyx",
        "**/*.h",
        "**/*.hpp",
        "**/*.a",
        "**/*.c",
        "bin",
    ),
    # ... libraries of Arrow that nothing here links to, and second copies of one that all do, ...
    *("pyarrow/include", "pyarrow/src", "pyarrow/includes", "pyarrow/*flight*", "pyarrow/*encryption*"),
    *("pyarrow/libarrow_python.so", "pyarrow/libarrow_python.so.????.*", "pyarrow/_pyarrow_cpp_tests*"),
    # ... earth orientation that only horizontal coordinates need, ...
    *("astropy_iers_data/data/eopc04*", "astropy_iers_data/data/finals2000A.all"),
    "scipy.libs",
)
#: ... and all of scipy but filters of images.
_SCIPY_KEPT = ("ndimage", "_lib")
#: Packages of scipy that modules on the path name and do not call; see stand_ins/left_out.py.
_STAND_INS = ("special", "spatial", "interpolate", "optimize", "sparse", "sparse/linalg")
#: The time of all files in the archive: zip begins with 1980.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    """Write the archive and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the archive goes")
    parser.add_argument("--tree", type=Path, help="only lay out this new folder, as for a container image")
    args = parser.parse_args()
    if args.tree:
        build_tree(args.tree)
        return
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"astrolake-lambda-{astrolake.__version__}.zip"
    with tempfile.TemporaryDirectory(prefix="astrolake-lambda-") as folder:
        tree = Path(folder) / "task"
        build_tree(tree)
        n_bytes = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
        if n_bytes >= MOST_BYTES:
            sys.exit(
                f"the archive would unpack to {n_bytes / 1e6:.0f} MB, Lambda takes {MOST_BYTES / 1e6:.0f} MB"
            )
        write_zip(tree, archive)
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB, unpacked {n_bytes / 1e6:.1f} MB")  # noqa: T201


def build_tree(tree: Path) -> None:
    """Lay out in a new folder what the archive holds."""
    running = "{}.{}".format(*sys.version_info)
    if running != PYTHON:
        sys.exit(
            f"kernels are compiled for the Python that runs this, {running}: use {PYTHON} (make lambda-zip)"
        )
    install(tree)
    prune(tree)
    shutil.copytree(
        ROOT / "lib" / "astrolake", tree / "astrolake", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(HERE / "handler.py", tree)
    (tree / "numba").mkdir()
    shutil.copy(HERE / "stand_ins" / "numba.py", tree / "numba" / "__init__.py")
    for name in _STAND_INS:
        (tree / "scipy" / name).mkdir()
        shutil.copy(HERE / "stand_ins" / "left_out.py", tree / "scipy" / name / "__init__.py")
    subprocess.run([sys.executable, HERE / "compile_kernels.py", tree / "numba"], check=True)
    for library in (tree / "numba").glob("*.so"):
        subprocess.run(["strip", "--strip-debug", library], check=True)
        library.rename(tree / library.name)
    # The folder of the code is not writable: what is not compiled now is compiled at each cold start.
    compiled = compileall.compile_dir(
        tree,
        stripdir=tree,
        prependdir="/var/task",
        quiet=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        sys.exit("a module cannot be compiled")


def install(tree: Path) -> None:
    """Install the libraries for Lambda's platform, whatever this machine's is."""
    platforms = [part for name in _PLATFORMS for part in ("--platform", name)]
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-compile",
    ]
    command += [
        "--no-deps",
        "--only-binary=:all:",
        *platforms,
        "--python-version",
        PYTHON,
        "--target",
        str(tree),
    ]
    pins = [
        "--requirement",
        str(HERE / "requirements.txt"),
        "--constraint",
        str(ROOT / "glue/constraints.txt"),
    ]
    subprocess.run([*command, *pins], check=True)


def prune(tree: Path) -> None:
    """Delete what the function never imports."""
    packages = [path for path in (tree / "scipy").iterdir() if path.is_dir() and path.name not in _SCIPY_KEPT]
    for path in (*(found for pattern in _LEFT_OUT for found in list(tree.glob(pattern))), *packages):
        if path == tree / "astropy" / "tests":
            continue  # astropy itself imports it
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def write_zip(tree: Path, archive: Path) -> None:
    """Pack a folder so that the same content gives the same bytes."""
    partial = archive.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(tree).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
            packed.writestr(entry, path.read_bytes(), compresslevel=6)
    partial.replace(archive)


if __name__ == "__main__":
    main()
