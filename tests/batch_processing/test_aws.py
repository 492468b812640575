"""Clients retry, and what AWS refuses becomes an error that says what to do."""

import pytest

from astrolake.batch_processing.aws import ATTEMPTS, aws_errors, error_code, make_client, make_session
from astrolake.errors import AstrolakeError


def test_a_client_retries_and_takes_the_ambient_endpoint(aws):
    client = make_client("s3")
    assert client.meta.config.retries == {"mode": "standard", "total_max_attempts": ATTEMPTS}
    assert client.meta.endpoint_url == aws
    client.create_bucket(Bucket="sky")
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["sky"]


def test_an_unknown_profile_says_so():
    with pytest.raises(AstrolakeError, match="nobody"):
        make_session(profile="nobody")


def test_a_refusal_names_the_action_and_the_remedy(aws):
    from botocore.exceptions import ClientError

    client = make_client("s3")
    refusal = pytest.raises(AstrolakeError, match=r"cannot read it: .*NoSuchBucket.*; look again")
    with refusal, aws_errors("read it", "look again"):
        client.get_object(Bucket="nowhere", Key="a")
    with pytest.raises(ClientError) as caught:
        client.get_object(Bucket="nowhere", Key="a")
    assert error_code(caught.value) == "NoSuchBucket"
