"""Lambda is called for each image, throttled calls are tried again, and failures stay with their image."""

import http.server
import json
import threading
import time

import pytest

from astrolake.batch_processing.invoke import invoke_images, lambda_handler
from astrolake.batch_processing.objects import StoredObject
from astrolake.cli import main


class Lambda(http.server.BaseHTTPRequestHandler):
    """Answers as Lambda's Invoke does; the first `throttled` calls are refused."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.calls.append((self.path, event["key"]))
            server.now += 1
            server.most = max(server.most, server.now)
            throttled = server.throttled > 0
            server.throttled -= throttled
        time.sleep(0.02)
        with server.lock:
            server.now -= 1
        if throttled:
            refusal = {"Reason": "ConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}
            return self.send(429, refusal, {"x-amzn-ErrorType": "TooManyRequestsException"})
        if "timeout" in event["key"]:
            told = {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 300.00 seconds"}
            return self.send(200, told, {"X-Amz-Function-Error": "Unhandled"})
        image = {"image": f"s3://{event['bucket']}/{event['key']}", "status": "done", "changed": True}
        self.send(200, {"images": [image | {"rows": 3, "seconds": 0.1, "rejects": []}], "problems": []})
        return None

    def send(self, status, body, headers=()):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def function(aws, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lambda)
    server.calls, server.throttled, server.now, server.most, server.lock = [], 0, 0, 0, threading.Lock()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def images(*keys):
    return [StoredObject("images", key, 1, "e") for key in keys]


def test_each_image_is_asked_for_once_with_bounded_concurrency(function):
    keys = [f"night 1+2/α {number}.fits" for number in range(30)]
    given = images(*keys, "notes.txt")
    outcomes = list(invoke_images(given, lambda_handler("sources", 3), workers=3))
    assert sorted(key for _, key in function.calls) == sorted(keys)
    assert all(outcome.value.answer["images"][0]["rows"] == 3 for outcome in outcomes)
    assert function.most <= 3


def test_throttled_calls_are_tried_again(function):
    function.throttled = 3
    outcomes = list(invoke_images(images("a.fits", "b.fits"), lambda_handler("sources", 2), workers=2))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert len(function.calls) == 5


def test_a_failed_image_does_not_take_others_with_it(function, capsys):
    from astrolake.batch_processing.aws import make_client

    s3 = make_client("s3")
    s3.create_bucket(Bucket="images")
    for key in ("a.fits", "timeout.fits", "z.fits.gz", "readme.md"):
        s3.put_object(Bucket="images", Key=key, Body=b"")
    assert main(["invoke", "--bucket", "images", "--function", "sources"]) == 1
    printed = capsys.readouterr()
    assert "2 images: 6 sources; 0 as before, 0 rejected, 1 failed" in printed.out
    assert (
        "timeout.fits: sources failed: Sandbox.Timedout: Task timed out after 300.00 seconds" in printed.err
    )


def test_images_are_taken_from_the_listing_as_threads_become_free(function):
    taken = []

    def endless():
        for number in range(10**9):
            taken.append(number)
            yield StoredObject("images", f"{number}.fits", 1, "e")

    outcomes = invoke_images(endless(), lambda_handler("sources", 2), workers=2)
    for _ in range(5):
        next(outcomes)
    outcomes.close()
    assert len(taken) < 20
