"""Nothing that lets its bearer in stands in a file of the project."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The account number and keys of AWS's own documentation, and what tests use for hidden things.
EXAMPLES = {"123456789012", "000000000000", "999999999999", "111122223333"}
SECRETS = {
    "access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "presigned URL": re.compile(r"X-Amz-Signature=[0-9a-f]{64}"),
    "token": re.compile(r"\b(?:ghp|gho|xox[bp]|sk-ant)[-_][A-Za-z0-9-]{16,}"),
    "secret key": re.compile(r"(?i)aws_secret_access_key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}\b"),
}
ACCOUNT = re.compile(r"\barn:aws[\w-]*:[\w-]*:[\w-]*:(\d{12})\b|\b(\d{12})\.dkr\.ecr\.")


def project_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no checkout: git cannot list its files")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def findings(text: str) -> list[str]:
    found = [kind for kind, pattern in SECRETS.items() if pattern.search(text)]
    accounts = {one or other for one, other in ACCOUNT.findall(text)} - EXAMPLES
    return found + [f"account number {number}" for number in sorted(accounts)]


def test_no_file_holds_a_secret():
    files = project_files()
    assert len(files) > 300
    told = {str(path.relative_to(ROOT)): findings(path.read_text(errors="replace")) for path in files}
    assert {name: kinds for name, kinds in told.items() if kinds} == {}


@pytest.mark.parametrize(
    "text",
    [
        "key = '" + "AKIA" + "ABCDEFGHIJKLMNOP'",
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "https://b/k?X-Amz-" + "Signature=" + "0a" * 32,
        "aws_secret_" + "access_key = " + "abcdefghij" * 4,
        "arn:aws:iam::" + "210987654321:role/x",
    ],
)
def test_a_secret_would_be_found(text):
    assert findings(text)
