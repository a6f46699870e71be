"""AWS Lambda: every event that it documents, by AWS's own runtime, and what being frozen does to a bot."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from typing import Any

import pytest

from tests.hosts.client import update
from tests.hosts.fronts import aws_lambda
from tests.hosts.fronts.aws_lambda import Environment
from tests.hosts.hosts import HOSTS, skip_if_missing
from tests.peers.processes import PATIENCE, TOKEN

SECRET = "s3cret"
HEADERS = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": SECRET, "Host": "bot.example.org"}
LOWER = {name.lower(): value for name, value in HEADERS.items()}
MANY = {name: [value] for name, value in HEADERS.items()}

pytestmark = [
    skip_if_missing(next(host for host in HOSTS if host.adapter == "aws_lambda")),
    pytest.mark.xdist_group("AWS Lambda"),
]


class BotApi:
    """The Bot API, as far as these bots need it. connections: how many were opened."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.connections = 0
        self._open: list[Any] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                api.connections += 1
                api._open.append(self.connection)

            def do_POST(self) -> None:
                params = json.loads(self.rfile.read(int(self.headers["content-length"])))
                api.texts.append(params["text"])
                body = b'{"ok": true, "result": {"message_id": 1}}'
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close_connections(self) -> None:
        """End what is open, as Telegram does with what has idled for long."""
        while self._open:
            with suppress(OSError):  # it has ended by itself
                self._open.pop().shutdown(SHUT_RDWR)


@contextmanager
def bot_api() -> Iterator[BotApi]:
    api = BotApi()
    try:
        yield api
    finally:
        api.close_connections()
        api.server.shutdown()
        api.server.server_close()


@pytest.fixture(scope="module")
def api() -> Iterator[BotApi]:
    with bot_api() as api:
        yield api


@contextmanager
def function(api: BotApi, app: str = "aws_lambda_app", **options: Any) -> Iterator[Environment]:
    """An environment with a bot in it."""
    hook_options = json.dumps({"secret_token": SECRET} | options)
    variables = {"BOT_TOKEN": TOKEN, "BOT_API_ROOT": api.root, "HOOK_OPTIONS": hook_options}
    with aws_lambda.running(f"tests.hosts.apps.{app}.lambda_handler", **variables) as environment:
        yield environment


@pytest.fixture(scope="module")
def environment(api: BotApi) -> Iterator[Environment]:
    with function(api) as environment:
        yield environment


# The events, as they are documented


def rest_api(body: str, encoded: bool) -> dict[str, Any]:
    """API Gateway, a REST API: format 1.0. Headers keep their case; the stage is not in the path."""
    return {
        "resource": "/telegram",
        "path": "/telegram",
        "httpMethod": "POST",
        "headers": HEADERS,
        "multiValueHeaders": MANY,
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": "/telegram",
            "httpMethod": "POST",
            "path": "/prod/telegram",
            "stage": "prod",
        },
        "body": body,
        "isBase64Encoded": encoded,
    }


def http_api_1(body: str, encoded: bool) -> dict[str, Any]:
    """API Gateway, an HTTP API with the format 1.0."""
    return {"version": "1.0", **rest_api(body, encoded)}


def http_api_2(body: str, encoded: bool) -> dict[str, Any]:
    """API Gateway, an HTTP API with a route and a stage: format 2.0. The stage is in the path."""
    return {
        "version": "2.0",
        "routeKey": "POST /telegram",
        "rawPath": "/prod/telegram",
        "rawQueryString": "",
        "headers": LOWER,
        "requestContext": {
            "routeKey": "POST /telegram",
            "stage": "prod",
            "http": {"method": "POST", "path": "/prod/telegram", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
        },
        "body": body,
        "isBase64Encoded": encoded,
    }


def function_url(body: str, encoded: bool, path: str = "/telegram") -> dict[str, Any]:
    """A function URL: format 2.0, with the route $default."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": LOWER,
        "requestContext": {
            "routeKey": "$default",
            "stage": "$default",
            "domainName": "abcdef.lambda-url.eu-central-1.on.aws",
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
        },
        "body": body,
        "isBase64Encoded": encoded,
    }


def load_balancer(body: str, encoded: bool) -> dict[str, Any]:
    """An Application Load Balancer."""
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/bot/1"}},
        "httpMethod": "POST",
        "path": "/telegram",
        "queryStringParameters": {},
        "headers": LOWER,
        "body": body,
        "isBase64Encoded": encoded,
    }


def load_balancer_with_lists(body: str, encoded: bool) -> dict[str, Any]:
    """An Application Load Balancer whose target group has multi-value headers switched on."""
    event = load_balancer(body, encoded)
    del event["headers"], event["queryStringParameters"]
    return {**event, "multiValueQueryStringParameters": {}, "multiValueHeaders": {k: [v] for k, v in LOWER.items()}}


EVENTS = [rest_api, http_api_1, http_api_2, function_url, load_balancer, load_balancer_with_lists]


def ask(environment: Environment, event: Any, content: dict[str, Any], *, encoded: bool = False) -> dict[str, Any]:
    """Hand an update to the function in an event of a kind; what it returns."""
    data = json.dumps(content, ensure_ascii=False)
    kind, result = environment.invoke(event(b64encode(data.encode()).decode() if encoded else data, encoded))
    assert kind == "response", result
    assert isinstance(result, dict)
    return result


def headers_of(result: dict[str, Any]) -> dict[str, str]:
    return result.get("headers") or {name: value for name, [value] in result["multiValueHeaders"].items()}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("encoded", [False, True], ids=["text", "base64"])
def test_every_event_carries_an_update(environment: Environment, api: BotApi, event: Any, encoded: bool) -> None:
    content = update(f"echo привет-{event.__name__}-{encoded}")
    result = ask(environment, event, content, encoded=encoded)
    assert (result["statusCode"], result["body"], result["isBase64Encoded"]) == (200, "", False)
    assert api.texts.count(content["message"]["text"]) == 1


@pytest.mark.parametrize("event", EVENTS)
def test_a_result_has_lists_of_headers_where_the_event_has_nothing_else(environment: Environment, event: Any) -> None:
    result = ask(environment, event, update("echo"))
    lists = event is load_balancer_with_lists
    kinds = {"multiValueHeaders"} if lists else {"headers"}
    assert result.keys() == {"statusCode", "isBase64Encoded", "body"} | kinds
    assert headers_of(result) == {"content-length": "0"}


@pytest.mark.parametrize("event", EVENTS)
def test_a_call_travels_in_the_result_as_text_and_a_file_as_base64(environment: Environment, event: Any) -> None:
    told = ask(environment, event, update("poll"))
    assert (headers_of(told)["content-type"], told["isBase64Encoded"]) == ("application/json", False)
    assert json.loads(told["body"])["method"] == "sendPoll"
    result = ask(environment, event, update("picture"))
    assert headers_of(result)["content-type"].startswith("multipart/form-data; boundary=")
    assert result["isBase64Encoded"]
    assert b"\xff\xd8 picture" in b64decode(result["body"])


@pytest.mark.parametrize("event", EVENTS)
def test_a_wrong_secret_is_401(environment: Environment, event: Any) -> None:
    made = event("{}", False)
    for headers in made.keys() & {"headers", "multiValueHeaders"}:
        made[headers] = {k: v for k, v in made[headers].items() if k.lower() != "x-telegram-bot-api-secret-token"}
    kind, result = environment.invoke(made)
    assert (kind, result["statusCode"]) == ("response", 401)


def test_at_a_function_url_the_path_is_compared(environment: Environment) -> None:
    kind, result = environment.invoke(function_url(json.dumps(update("echo")), False, path="/elsewhere"))
    assert (kind, result["statusCode"]) == ("response", 404)


@pytest.mark.parametrize("event", EVENTS)
def test_a_request_without_headers_and_body_is_rejected(environment: Environment, event: Any) -> None:
    """As when the console's test button sends an event."""
    made = {
        key: None if key in ("headers", "multiValueHeaders", "body") else value
        for key, value in event("", False).items()
    }
    kind, result = environment.invoke(made)
    assert (kind, result["statusCode"]) == ("response", 401)


def test_an_event_that_is_no_request_is_an_error_that_says_so(environment: Environment) -> None:
    kind, error = environment.invoke({"source": "aws.events", "detail-type": "Scheduled Event"})
    assert (kind, error["errorType"]) == ("error", "ValueError")
    assert error["errorMessage"] == "the event is no HTTP request: it has detail-type, source"


def test_a_timeout_is_an_error_of_the_function(api: BotApi) -> None:
    with function(api, timeout=0.1) as environment:
        kind, error = environment.invoke(function_url(json.dumps(update("sleep=0.2")), False))
        assert (kind, error["errorType"]) == ("error", "WebhookTimeout")
        assert "Telegram will send" in error["errorMessage"]


# Being frozen


def frozen(environment: Environment) -> None:
    """Wait until the environment is frozen."""
    end = time.monotonic() + PATIENCE
    while not environment.frozen:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("app", ["aws_lambda_app", "aws_lambda_async_app"])
def test_a_handler_whose_time_was_up_is_frozen_and_goes_on_with_the_next_event(app: str) -> None:
    late, other = update("sleep=0.5 echo late"), update("sleep=1")
    with bot_api() as api, function(api, app, timeout=0.2) as environment:
        assert environment.invoke(function_url(json.dumps(late), False))[0] == "error"
        frozen(environment)
        time.sleep(0.8)
        assert api.texts == []
        environment.invoke(function_url(json.dumps(other), False))
        while environment.invoke(function_url(json.dumps(late), False))[0] == "error":
            pass
        assert api.texts == ["sleep=0.5 echo late"]


@pytest.mark.parametrize("app", ["aws_lambda_app", "aws_lambda_async_app"])
def test_connections_are_kept_from_one_event_to_the_next(app: str) -> None:
    with bot_api() as api, function(api, app) as environment:
        for text in ("echo 1", "echo 2", "echo 3"):
            assert ask(environment, function_url, update(text))["statusCode"] == 200
            frozen(environment)
        assert api.texts == ["echo 1", "echo 2", "echo 3"]
        assert api.connections == 1


@pytest.mark.parametrize("app", ["aws_lambda_app", "aws_lambda_async_app"])
def test_a_connection_that_was_closed_while_its_process_was_frozen_costs_no_call(app: str) -> None:
    with bot_api() as api, function(api, app) as environment:
        for text in ("echo 1", "echo 2", "echo 3"):
            assert ask(environment, function_url, update(text))["statusCode"] == 200
            frozen(environment)
            api.close_connections()
        assert api.texts == ["echo 1", "echo 2", "echo 3"]
        assert api.connections == 3
