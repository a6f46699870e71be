"""What every host's adapter does alike: exchanges of one request and one response, in the real host, on loopback."""

from __future__ import annotations

import json
import time

import pytest

from tests.hosts.client import Served, update
from tests.hosts.conftest import TIMEOUT
from tests.hosts.hosts import Host, each


def host_of(request: pytest.FixtureRequest) -> Host:
    """The host that a test runs in."""
    host: Host = request.node.callspec.params["served"][0]
    return host


# What a request is answered


@each()
def test_what_was_handled_is_answered_200_with_nothing(served: Served) -> None:
    content = update("echo")
    answer = served.post(content)
    assert (answer.status, answer.body) == (200, b"")
    assert served.texts("sendMessage", content) == ["echo"]


@each(remembering=True)
def test_what_was_handled_is_known_when_it_comes_again(served: Served) -> None:
    content = update("echo")
    assert [served.post(content).status, served.post(content).status] == [200, 200]
    assert served.texts("sendMessage", content) == ["echo"]


@each()
def test_a_handler_that_raises_is_500_and_runs_again(served: Served) -> None:
    content = update("fail-once echo")
    assert [served.post(content).status, served.post(content).status] == [500, 200]
    assert served.texts("sendMessage", content) == ["fail-once echo"]


@each()
@pytest.mark.parametrize("secret", [None, "", "wrong", "s3crets"])
def test_a_wrong_secret_is_401_and_nothing_of_it_reaches_the_handler(served: Served, secret: str | None) -> None:
    content = update("echo")
    answer = served.send(json.dumps(content).encode(), x_telegram_bot_api_secret_token=secret)
    assert (answer.status, answer.body) == (401, b"")
    assert served.texts("sendMessage", content) == []


@each()
def test_another_method_is_405(served: Served, request: pytest.FixtureRequest) -> None:
    assert served.send(b"", method="GET").status == host_of(request).other_method


@each()
def test_another_path_is_404(served: Served) -> None:
    assert served.send(json.dumps(update("echo")).encode(), path="/elsewhere").status == 404


@each()
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_another_type_is_415(served: Served, content_type: str | None) -> None:
    assert served.send(json.dumps(update("echo")).encode(), content_type=content_type).status == 415


@each()
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"message": {}}', b"\xff"])
def test_what_is_no_update_is_400(served: Served, body: bytes) -> None:
    assert served.send(body).status == 400


@each()
def test_an_oversized_body_is_413(served: Served) -> None:
    assert served.send(b'{"update_id": 1, "x": "' + b"x" * 1_048_576 + b'"}').status == 413


# Throw, and join


@each(remembering=True)
def test_when_time_is_up_the_host_sees_an_error_and_a_redelivery_joins_the_run(
    served: Served, request: pytest.FixtureRequest
) -> None:
    content = update(f"echo sleep={2.5 * TIMEOUT}")
    answer = served.post(content)
    host = host_of(request)
    assert (answer.status, answer.closed) == (host.late, host.closes)
    begun = time.monotonic()
    statuses = [served.post(content).status]
    while statuses[-1] == host.late:
        statuses.append(served.post(content).status)
    assert statuses[-1] == 200
    assert time.monotonic() - begun > TIMEOUT / 2, "it was answered when the run had ended"
    assert len(served.texts("sendMessage", content)) == 1


@each()
def test_the_error_is_in_the_hosts_log(served: Served, request: pytest.FixtureRequest) -> None:
    if not host_of(request).shows:
        pytest.skip("this host shows no errors")
    content = update(f"sleep={1.5 * TIMEOUT}")
    assert served.post(content).status == 500
    text = f"the handler of update {content['update_id']} did not end within {TIMEOUT:g} s; Telegram will send"
    served.until(lambda: text in served.process.output)


@each()
def test_the_updates_of_a_chat_run_one_after_the_other_and_others_meanwhile(
    served: Served, request: pytest.FixtureRequest
) -> None:
    if not host_of(request).at_once:
        pytest.skip("this host is given one request at a time")
    first = update(f"echo=1 sleep={TIMEOUT} echo=1")
    text, chat = first["message"]["text"], first["message"]["chat"]["id"]
    served.begin(first)
    served.until(lambda: served.texts("sendMessage", first) == [text])
    same, other = update("echo=2", chat=chat), update("echo")
    served.begin(same)
    assert served.post(other).status == 200
    assert served.texts("sendMessage", first) == [text], "the first goes on"
    for content in (first, same):
        while (status := served.post(content).status) != 200:
            assert status == host_of(request).late
    assert served.texts("sendMessage", first) == [text, text, "echo=2"]


@each(remembering=True)
def test_a_client_that_goes_does_not_end_the_run_and_a_redelivery_joins_it(served: Served) -> None:
    content = update(f"echo sleep={TIMEOUT / 2}")
    served.drop(content)
    assert served.post(content).status == 200
    assert len(served.texts("sendMessage", content)) == 1


@each(max_waiting=0, timeout=30.0)
def test_when_too_many_wait_it_is_503_with_retry_after(served: Served, request: pytest.FixtureRequest) -> None:
    if not host_of(request).at_once:
        pytest.skip("this host is given one request at a time")
    first = update("echo sleep=30")
    served.begin(first)
    served.until(lambda: served.texts("sendMessage", first) != [])
    answer = served.post(update("echo", chat=first["message"]["chat"]["id"]))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


# Replies


@each()
def test_a_call_travels_in_the_response_as_json(served: Served) -> None:
    content = update("poll=told")
    answer = served.post(content)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    reply = json.loads(answer.body)
    assert (reply["method"], reply["question"]) == ("sendPoll", "poll=told")
    served.until(lambda: served.texts("sendMessage", content) == ["replied: True"])
    assert served.texts("sendPoll", content) == []


@each()
def test_a_call_with_a_file_travels_in_the_response_as_multipart(served: Served) -> None:
    answer = served.post(update("photo"))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="method"\r\n\r\nsendPhoto\r\n' in answer.body
    assert b"\r\n\r\nPNG\r\n" in answer.body


@each()
def test_a_second_call_and_one_that_reads_a_file_go_out_by_themselves(
    served: Served, request: pytest.FixtureRequest
) -> None:
    if not host_of(request).reads_files:
        pytest.skip("this host has no threads to read a file in")
    content = update("poll poll file")
    answer = served.post(content)
    assert json.loads(answer.body)["method"] == "sendPoll"
    served.until(lambda: served.texts("sendDocument", content) == ["poll poll file"])
    assert served.texts("sendPoll", content) == ["poll poll file"]


@each()
def test_a_call_goes_out_by_itself_when_the_host_tells_that_its_client_has_gone(
    served: Served, request: pytest.FixtureRequest
) -> None:
    if not host_of(request).told_of_clients:
        pytest.skip("this host does not tell")

    def told() -> bool:
        """Whether that was known when the bot made its call."""
        content = update(f"echo sleep={TIMEOUT / 4} poll=told")
        served.drop(content)
        served.until(lambda: len(served.texts("sendMessage", content)) == 2)
        return served.texts("sendPoll", content) != []

    served.until(told)


# Return, and cancel


@each(on_timeout="return")
def test_return_answers_200_and_the_next_update_of_the_chat_waits(served: Served) -> None:
    first = update(f"sleep={2 * TIMEOUT} echo=1")
    second = update("echo=2", chat=first["message"]["chat"]["id"])
    assert served.post(first).status == 200
    assert served.texts("sendMessage", first) == []
    assert served.post(second).status == 200
    served.until(lambda: len(served.texts("sendMessage", first)) == 2)
    assert served.texts("sendMessage", first) == [f"sleep={2 * TIMEOUT} echo=1", "echo=2"]


@each(confirm="stored")
def test_with_an_inbox_the_answer_does_not_wait_for_the_handler(served: Served) -> None:
    content = update(f"sleep={2 * TIMEOUT} echo")
    assert served.post(content).status == 200
    assert served.texts("sendMessage", content) == []
    assert served.post(content).status == 200, "it is known"
    served.until(lambda: len(served.texts("sendMessage", content)) == 1)


@each(on_timeout="cancel")
def test_cancel_ends_the_handler_and_a_redelivery_starts_afresh(served: Served, request: pytest.FixtureRequest) -> None:
    if not host_of(request).cancels:
        pytest.skip("a thread cannot be cancelled")
    content = update(f"echo=1 sleep={2 * TIMEOUT} echo=2")
    late = host_of(request).late
    assert [served.post(content).status, served.post(content).status] == [late, late]
    assert len(served.texts("sendMessage", content)) == 2
