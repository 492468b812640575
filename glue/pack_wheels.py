"""Pack astrolake and what Glue 5.1 lacks into one zip of wheels, for --additional-python-modules.

The zip holds `wheels/`, as AWS describes it ("Creating a Zip of Wheels Artifact"), and installs with
--python-modules-installer-option --no-index. Run `make glue-wheels`, or this file with any Python 3.11.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from slim_wheel import RECIPE, slim_wheel

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
#: What the base of Glue 5.1, Amazon Linux 2023 with glibc 2.34, accepts (the same page of AWS, appendix B).
PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")
_TARGET = [
    *(word for platform in PLATFORMS for word in ("--platform", platform)),
    *("--python-version", "3.11", "--implementation", "cp", "--only-binary", ":all:"),
]
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Pin:
    """A package of the closure, as pip resolved it."""

    name: str
    version: str
    sha256: str


def canonical(name: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """Return the version of each package that a file pins with ==."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def missing_on_glue(resolved: Sequence[Pin]) -> list[Pin]:
    """Return what of a closure has to be carried to Glue.

    Raises
    ------
    SystemExit
        When one is not pinned, or Glue has another version of it than was resolved.
    """
    there, pins = read_pins(HERE / "preinstalled.txt"), read_pins(HERE / "constraints.txt")
    other = [pin for pin in resolved if there.get(pin.name, pin.version) != pin.version]
    loose = [pin for pin in resolved if pin.name not in there and pin.name not in pins]
    if other or loose:
        wrong = [f"{pin.name} {pin.version}, Glue has {there[pin.name]}" for pin in other]
        wrong += [f"{pin.name}=={pin.version} is not in glue/constraints.txt" for pin in loose]
        raise SystemExit("cannot pack for Glue: " + "; ".join(wrong))
    return [pin for pin in resolved if pin.name not in there]


def resolve(wheel: Path, extras: Sequence[str]) -> list[Pin]:
    """Return all that the wheel needs on Glue's platform, itself left out."""
    wanted = f"astrolake[{','.join(extras)}] @ {wheel.as_uri()}" if extras else str(wheel)
    with tempfile.TemporaryDirectory() as work:
        report = Path(work) / "report.json"
        _pip(
            *("install", "--dry-run", "--ignore-installed", "--report", str(report)),
            *("--target", work, *_TARGET, *_constraints(), wanted),
        )
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    pins = [_pin(item) for item in found]
    return sorted((pin for pin in pins if pin.name != "astrolake"), key=lambda pin: pin.name)


def _pin(item: dict[str, dict[str, str]]) -> Pin:
    archive = item["download_info"].get("archive_info", {})
    sha256 = archive.get("hashes", {}).get("sha256", "") if isinstance(archive, dict) else ""
    return Pin(canonical(item["metadata"]["name"]), item["metadata"]["version"], sha256)


def build_wheel(directory: Path) -> Path:
    """Build astrolake's own wheel and return its path."""
    with tempfile.TemporaryDirectory() as work:
        # A copy: setuptools leaves build directories, and would pack what an older build left there.
        tree = Path(work) / "astrolake"
        tree.mkdir()
        for name in ("lib/astrolake", "jobs"):
            shutil.copytree(
                ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, tree / name)
        _pip("wheel", "--no-deps", "--wheel-dir", str(directory), str(tree))
    return next(directory.glob("astrolake-*.whl"))


def fetch(pins: Sequence[Pin], directory: Path) -> list[Path]:
    """Download the wheels of the pins; pip checks them against the hashes that were resolved."""
    with tempfile.TemporaryDirectory() as work:
        wanted = Path(work) / "wanted.txt"
        wanted.write_text("".join(f"{p.name}=={p.version} --hash=sha256:{p.sha256}\n" for p in pins))
        _pip("download", "--no-deps", "--dest", str(directory), *_TARGET, "--requirement", str(wanted))
    return sorted(directory.glob("*.whl"))


def pack(out: Path, extras: Sequence[str] = (), small_in: Path | None = None) -> Path:
    """Write the zip of wheels and return its path.

    Parameters
    ----------
    out : Path
        Directory of the zip.
    extras : sequence of str
        Extras of astrolake to pack too, such as photoz.
    small_in : Path, optional
        Make wheels smaller, and keep them in this directory for later calls: it takes minutes. pip reads such
        wheels, uv does not. By default wheels are packed as they are on PyPI.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        own = build_wheel(Path(work))
        pins = missing_on_glue(resolve(own, extras))
        wheels = [own, *fetch(pins, Path(work) / "fetched")]
        if small_in is not None:
            wheels = _small(wheels, small_in)
        version = own.name.split("-")[1]
        target = out / f"astrolake-{version}.gluewheels.zip"
        _zip_wheels(target, wheels, [f"astrolake=={version}", *(f"{p.name}=={p.version}" for p in pins)])
    return target


def _small(wheels: Sequence[Path], cache: Path) -> list[Path]:
    small = [cache / f"{_sha256(wheel)[:16]}-{RECIPE}" / wheel.name for wheel in wheels]
    todo = [(wheel, at) for wheel, at in zip(wheels, small, strict=True) if not at.exists()]
    # The largest first: the others fill the other cores meanwhile.
    todo.sort(key=lambda pair: -pair[0].stat().st_size)
    with ProcessPoolExecutor() as pool:
        for done in [pool.submit(_slim, *pair) for pair in todo]:
            done.result()
    return small


def _slim(wheel: Path, at: Path) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    partial = at.with_suffix(f".{os.getpid()}.part")
    slim_wheel(wheel, partial)
    partial.replace(at)


def _zip_wheels(target: Path, wheels: Sequence[Path], requirements: Sequence[str]) -> None:
    """Write the zip; the wheels are compressed already, and any reader of zip files reads what is stored."""
    partial = target.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, "wheels/requirements.txt", "".join(f"{line}\n" for line in requirements).encode())
        for wheel in sorted(wheels, key=lambda path: path.name):
            _store(archive, f"wheels/{wheel.name}", wheel.read_bytes())
    partial.replace(target)


def _store(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.external_attr, member.create_system = 0o644 << 16, 3
    archive.writestr(member, data)


def manifest(archive: Path) -> list[tuple[str, int, str]]:
    """Return name, size in bytes and SHA-256 of each file of the zip."""
    with zipfile.ZipFile(archive) as found:
        names = found.namelist()
        return [
            (name, found.getinfo(name).file_size, hashlib.sha256(found.read(name)).hexdigest())
            for name in names
        ]


def _constraints() -> list[str]:
    return ["--constraint", str(HERE / "constraints.txt"), "--constraint", str(HERE / "preinstalled.txt")]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    # A fixed time: the same sources make the same wheel.
    environment = os.environ | {"SOURCE_DATE_EPOCH": "315532800"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"pip {arguments[0]} failed:\n{done.stderr.strip()}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Pack, and print what was packed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="directory of the zip (dist)")
    parser.add_argument("--extra", action="append", default=[], help="extra of astrolake to pack too: photoz")
    parser.add_argument(
        "--small", action="store_true", help="compress with LZMA, which pip reads and uv does not"
    )
    args = parser.parse_args(argv)
    target = pack(args.out, args.extra, ROOT / "build" / "glue" if args.small else None)
    for name, size, sha256 in manifest(target):
        print(f"{sha256}  {size:>11,}  {name}")
    print(f"{_sha256(target)}  {target.stat().st_size:>11,}  {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
