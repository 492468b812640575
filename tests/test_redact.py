"""What must not be seen in logs is hidden; what looks alike and is harmless stays."""

import logging

import pytest

from astrolake.redact import RedactingFormatter, redact

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
HIDDEN = {
    "GET https://b.s3.amazonaws.com/k?X-Amz-Credential=abc%2F20&X-Amz-Signature=f00d&x=1": (
        "abc%2F20",
        "f00d",
    ),
    "https://b.s3.amazonaws.com/k?AWSAccessKeyId=abcdef&Signature=xyz%3D&Expires=1": ("abcdef", "xyz"),
    "https://b.s3.amazonaws.com/k?a=1&X-Amz-Security-Token=IQoJb3": ("IQoJb3",),
    f"key {KEY} is not known": (KEY,),
    "aws_secret_access_key = wJalrXUt/nFEMI/K7": ("wJalrXUt",),
    '{"AWS_SESSION_TOKEN": "FwoGZX"}': ("FwoGZX",),
    "arn:aws:iam::123456789012:role/lake is not authorized": ("123456789012",),
    "arn:aws-cn:glue:cn-north-1:123456789012:table/sky/objects": ("123456789012",),
    "pull 123456789012.dkr.ecr.eu-west-1.amazonaws.com/astrolake:1": ("123456789012",),
    "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads": ("123456789012",),
    "s3://astrolake-dev-survey-images-123456789012-eu-west-1/a.fits": ("123456789012",),
    "AccountId: 123456789012": ("123456789012",),
    "https://user:pa55@store.example/lake": ("pa55",),
    "https://mast.example/tap?QUERY=SELECT&token=abc123&FORMAT=csv": ("abc123",),
    "https://archive.example/files?api_key=k3y&ra=185": ("k3y",),
}


@pytest.mark.parametrize("line", HIDDEN)
def test_hides_what_is_secret_and_keeps_the_rest(line):
    shown = redact(line)
    assert all(secret not in shown for secret in HIDDEN[line])
    assert "***" in shown
    assert shown.split("***")[0] == line[: len(shown.split("***")[0])]


@pytest.mark.parametrize(
    "line",
    [
        "source_id 123456789012 occurs twice",
        "s3://sky/frames/frame-r-004510-4-0030.fits?versionId=3 at ra 185.123456789012",
        "12345678901234567 rows, run 20260101T000000-extract_sources-abc123",
        "Signature of the WCS cards differs",
        "https://b.s3.amazonaws.com/?list-type=2&continuation-token=1&key=frames/a.fits",
    ],
)
def test_harmless_lines_stay_as_they_are(line):
    assert redact(line) == line


def test_a_traceback_is_redacted_too():
    formatter = RedactingFormatter("%(message)s")
    try:
        raise ValueError("arn:aws:s3:::x?X-Amz-Signature=f00d")
    except ValueError:
        import sys

        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    assert "f00d" not in formatter.format(record)
    assert "ValueError" in formatter.format(record)


@pytest.mark.parametrize(
    "text",
    [
        "GET /?next=https%3A%2F%2Fb%2Fk%3Fa%3D1%26X-Amz-Signature%3D0123SECRET",
        '{"url": "https://b/k?a=1\\u0026X-Amz-Signature=0123SECRET"}',
        "<a href='https://b/k?a=1&amp;X-Amz-Signature=0123SECRET'>",
        "Authorization: AWS4-HMAC-SHA256 SignedHeaders=host, Signature=" + "0123456789abcdef" * 4,
        "{'X-Amz-Security-Token': b'0123SECRET'}",
        '{"Credentials": {"SecretAccessKey": "0123SECRET", "SessionToken": "0123SECRET"}}',
        "arn%3Aaws%3Aiam%3A%3A012345678901%3Arole%2Fx",
    ],
)
def test_encoded_secrets_are_hidden_too(text):
    shown = redact(text)
    assert "0123" not in shown
    assert "***" in shown


def test_a_secret_in_json_hides_no_neighbour():
    shown = redact('{"url": "https://b/k?X-Amz-Signature=0123SECRET\\u0026x=kept", "more": "kept too"}')
    assert "kept" in shown
    assert "kept too" in shown
