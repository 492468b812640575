"""A client keeps to its rate, asks again where that may help, and says which service failed at what."""

import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from astrolake.data_access.services.answers import page_title
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.pace import RateLimiter, retry_after_s
from astrolake.errors import BadInput, ServiceError
from tests.data_access.servers.base import LoopbackServer, Reply
from tests.data_access.servers.clock import FakeClock

BODY = b"id,ra,dec\n1,2,3\n" * 500


@pytest.fixture
def server():
    with LoopbackServer() as started:
        started.serve("/rows", BODY, "text/csv")
        yield started


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(clock):
    return HttpClient("TESTSERVICE", float("inf"), sleep=clock.sleep, clock=clock)


def test_an_answer_comes_with_its_parameters(server, client):
    response = client.get(server.url + "/rows", {"BAND": ["g", "r"], "POS": "1,2"})
    assert response.content == BODY
    assert server.requests[0].values == {"BAND": ["g", "r"], "POS": ["1,2"]}
    assert server.requests[0].headers["user-agent"] == "astrolake"


@pytest.mark.parametrize("fault", ["408", "429", "500", "502", "503", "504", "half", "reset", "half-reset"])
def test_what_may_pass_is_tried_again_later(server, client, clock, fault):
    server.faults = [fault, fault]
    assert client.get(server.url + "/rows").content == BODY
    assert len(server.requests) == 3
    first, second = clock.waits
    assert 0.5 <= first <= 1.0 <= second <= 2.0


def test_posts_are_tried_again_with_their_body(server, client):
    server.route("POST", "/sync", lambda request: Reply(200, request.body, "text/plain"))
    server.faults = ["503", "half", "reset"]
    assert client.post(server.url + "/sync", {"QUERY": "SELECT 1"}, "SELECT 1").content == b"QUERY=SELECT+1"
    assert {request.body for request in server.requests} == {b"QUERY=SELECT+1"}


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept_by_all_requests_of_the_client(server, client, clock, status):
    server.faults = [f"{status}:37"]
    client.get(server.url + "/rows")
    client.get(server.url + "/rows")
    assert clock.waits == [37.0]


def test_retry_after_as_a_date(server, client, clock):
    server.faults = [f"503:{format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)}"]
    client.get(server.url + "/rows")
    (waited,) = clock.waits
    assert 85 < waited <= 90


def test_retry_after_is_read_as_the_standard_has_it():
    date = "Fri, 21 Nov 2025 07:28:00 GMT"
    assert retry_after_s({"Retry-After": "5"}) == 5
    assert retry_after_s({"Retry-After": "86400"}) == 600
    assert retry_after_s({"Retry-After": date, "Date": "Fri, 21 Nov 2025 07:27:30 GMT"}) == 30
    assert retry_after_s({"Retry-After": date}) == 0
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({}) is None


def test_a_service_that_stays_down_is_named_with_the_query(server, client):
    server.faults = ["503"] * 6
    with pytest.raises(ServiceError) as raised:
        client.get(server.url + "/rows?page=1&X-Amz-Signature=abc", what="SELECT ra FROM t")
    text = str(raised.value)
    assert text.startswith(
        "TESTSERVICE: HTTP 503 Service Unavailable, said: busy (6 tries): http://127.0.0.1"
    )
    assert "/rows?page=1&X-Amz-Signature=***" in text
    assert "(asked for: SELECT ra FROM t); try again later" in text
    assert len(server.requests) == 6


def test_status_500_may_be_the_fault_of_the_query(server, client):
    server.faults = ["500"] * 6
    with pytest.raises(ServiceError, match=r"HTTP 500 .*\(3 tries\)"):
        client.get(server.url + "/rows")


def test_a_refusal_is_final_and_says_what_the_service_said(server, client):
    page = b"<html><head><style>p {}</style></head><body><p>Invalid column &quot;rra&quot;</p></body></html>"
    server.route("GET", "/sql", lambda request: Reply(400, page, "text/html"))
    with pytest.raises(
        BadInput, match=r'TESTSERVICE: HTTP 400 .*said: Invalid column "rra": .*SELECT rra'
    ) as raised:
        client.get(server.url + "/sql", what="SELECT rra")
    assert raised.value.kind == "Refused"
    with pytest.raises(BadInput, match="HTTP 404 .*check the address") as raised:
        client.get(server.url + "/nowhere")
    assert raised.value.kind == "NotFound"
    assert len(server.requests) == 2


def test_a_page_of_html_is_no_data(server, client):
    server.faults = ["html"]
    assert client.get(server.url + "/rows").content == BODY
    server.faults = ["html"] * 3
    with pytest.raises(
        ServiceError, match=r"page of HTML, 'Down for maintenance', .*/rows \(asked for: rows of t"
    ):
        client.get(server.url + "/rows", what="rows of t")
    assert len(server.requests) == 5
    server.faults = ["html"]
    assert b"Sorry" in client.get(server.url + "/rows", page=True).content


def test_pages_are_told_from_other_markup():
    assert (
        page_title(b'\n<?xml version="1.0"?>\n<!-- x --><!DOCTYPE HTML><TITLE>\n A &amp; B</TITLE>')
        == "A & B"
    )
    assert page_title(b"<html><body>") == "without a title"
    assert page_title(b'<?xml version="1.0"?><VOTABLE version="1.4"><TITLE/>') is None
    assert page_title(b"ra,dec\n<html>") is None
    assert page_title(b"") is None


def test_names_that_do_not_resolve_and_ports_that_do_not_answer(client, clock):
    with pytest.raises(
        ServiceError, match=r"TESTSERVICE: .*resolve 'archive.invalid'.*http://archive.invalid/a"
    ):
        client.get("http://archive.invalid/a")
    assert len(clock.waits) == 5
    with LoopbackServer() as gone:
        url = gone.url
    with pytest.raises(ServiceError, match=r"TESTSERVICE: .*refused.*127.0.0.1"):
        client.get(url)


def test_a_service_that_says_nothing_is_given_up(server, clock):
    client = HttpClient("SILENT", float("inf"), tries=2, timeout_s=0.2, sleep=clock.sleep, clock=clock)
    server.faults = ["hang", "hang"]
    with pytest.raises(ServiceError, match=r"SILENT: Read timed out.*\(2 tries\)"):
        client.get(server.url + "/rows")


@pytest.mark.parametrize("url", ["ftp://example.org/a", "archive/a", "http://"])
def test_what_is_no_web_address_is_refused_at_once(client, clock, url):
    with pytest.raises(BadInput, match="no web address"):
        client.get(url)
    assert clock.waits == []


def test_redirects_count_as_requests(server, clock):
    server.route("GET", "/moved", lambda request: Reply(303, b"", headers={"Location": server.url + "/rows"}))
    client = HttpClient("MOVED", 10.0, connections=1, sleep=clock.sleep, clock=clock)
    assert client.get(server.url + "/moved").content == BODY
    assert clock.waits == pytest.approx([0.1])


def test_the_rate_is_never_exceeded_by_threads_tries_or_the_session(server):
    per_s = 50.0
    client = HttpClient("RATE", per_s, connections=4)
    server.faults = ["503:0", "429:0"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: _ask(client, server, i), range(24)))
    assert answers == [BODY] * 24
    times = sorted(request.time for request in server.requests)
    assert len(times) == 26
    assert times[-1] - times[0] >= 25 / per_s - 0.01
    # The server's threads note the time with a delay of their own, so that single intervals say little.
    assert all(later - earlier > 2.5 / per_s for earlier, later in zip(times, times[5:], strict=False))
    assert server.busiest <= 4


def _ask(client, server, index):
    url = server.url + "/rows"
    return (client.session.get(url) if index % 2 else client.get(url)).content


def test_the_limiter_spaces_requests_on_any_clock(clock):
    limiter = RateLimiter(4.0, clock.sleep, clock)
    sent = []
    for _ in range(4):
        limiter.wait()
        sent.append(clock.now - 1000.0)
    assert sent == [0.0, 0.25, 0.5, 0.75]
    clock.now += 60.0  # time that was not used is not saved up
    limiter.wait()
    limiter.hold(10.0)
    limiter.wait()
    limiter.wait()
    assert clock.waits[3:] == [10.0, 0.25]


def test_streams_hold_their_connection_until_they_are_read_closed_or_dropped(server, clock):
    client = HttpClient("STREAM", float("inf"), connections=1, sleep=clock.sleep, clock=clock)
    server.serve("/large", b"x" * 2_000_000)
    url = server.url + "/large"
    first = client.get(url, stream=True)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(client.get, server.url + "/rows")
        assert not second.done()
        assert sum(map(len, first.iter_content(65536))) == 2_000_000
        assert second.result(timeout=10).content == BODY
    client.get(url, stream=True).close()
    client.get(url, stream=True)
    gc.collect()
    client.get(server.url + "/rows")
    assert len(server.requests) == 5


def test_libraries_get_refusals_as_answers_and_failures_as_errors(server, client):
    server.route("GET", "/tap", lambda request: Reply(400, b"<VOTABLE/>", "application/x-votable+xml"))
    assert client.session.get(server.url + "/tap").status_code == 400
    server.faults = ["503"] * 6
    with pytest.raises(ServiceError, match="TESTSERVICE: HTTP 503"):
        client.session.post(server.url + "/rows", data={"QUERY": "SELECT 1"})


def test_errors_of_the_client_travel_between_processes(client):
    error = pickle.loads(pickle.dumps(client.failure("HTTP 503", "http://a/b", "SELECT 1")))
    assert str(error) == "TESTSERVICE: HTTP 503: http://a/b (asked for: SELECT 1); try again later"
