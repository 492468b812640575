"""Fetches Spark's S3A file system, which PyPI's Spark lacks, when an image is built.

    python fetch_jars.py DIRECTORY [--maven URL]

Jars are those of the Hadoop release that Spark 3.5 is built with, checked against the digests that the
repository has beside them.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import urllib.request
from pathlib import Path

#: hadoop-aws 3.3.4 asks for this SDK.
JARS = (
    "org/apache/hadoop/hadoop-aws/3.3.4/hadoop-aws-3.3.4.jar",
    "com/amazonaws/aws-java-sdk-bundle/1.12.262/aws-java-sdk-bundle-1.12.262.jar",
)
MAVEN = "https://repo1.maven.org/maven2"


def fetch(url: str, directory: Path) -> Path:
    """Download a jar and return its path.

    Raises
    ------
    SystemExit
        When its bytes are not those that the digest is of.
    """
    target = directory / url.rsplit("/", 1)[1]
    with urllib.request.urlopen(f"{url}.sha1", timeout=60) as answer:  # noqa: S310 - the builder names it
        expected = answer.read().decode().split()[0]
    digest = hashlib.sha1(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=600) as answer, target.open("wb") as stream:  # noqa: S310
        shutil.copyfileobj(answer, stream, 1 << 20)
    with target.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        target.unlink()
        raise SystemExit(f"{url}: its SHA-1 is {digest.hexdigest()}, not {expected}; fetch it again")
    return target


def main() -> None:
    """Fetch all jars."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--maven", default=MAVEN)
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    for jar in JARS:
        fetch(f"{args.maven}/{jar}", args.directory)


if __name__ == "__main__":
    main()
