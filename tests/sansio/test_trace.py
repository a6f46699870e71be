"""Traces: what is recorded is replayed with the same effects, a difference is found, and nothing disturbs the bot."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline import (
    ApiOptions,
    Bot,
    Cancelled,
    HttpLimits,
    InputFile,
    LocalProtocolError,
    OptionError,
    PollingOptions,
    Raised,
    Refused,
    Returned,
    SetWebhookOptions,
    Token,
    Update,
    WebhookOptions,
)
from hookline.effects import Effect, Handle, Log, Receive, Report, Resolve, Send, Verdict
from hookline.http import StreamId
from hookline.outcomes import REPLIED
from hookline.testing import generate, record
from hookline.testing.world import SECRET as WORLDS_SECRET
from hookline.trace import Recorder, Trace, TraceError, read_trace, replay
from hookline.trace.recorder import INPUTS
from hookline.trace.values import ENUMS, LONG, VALUES, LongBytes, pack, pack_bytes, unpack
from hookline.trace.writer import MAX_HELD

HALF = "AAG-testsSecretHalf_0123456789"
TOKEN = Token(f"42:{HALF}")
SECRET = "a_webhooks-secret"
ME = {"id": 42, "is_bot": True, "first_name": "Bot"}


class Run:
    """A recorder that a test tells things by hand. connection: the one that it opened last."""

    def __init__(self, source: PollingOptions | WebhookOptions | None = None, **kwargs: Any) -> None:
        self.lines: list[str] = []
        self.bot = Recorder(TOKEN, source, write=self.lines.append, seed=7, **kwargs)
        self.now = 100.0
        self.connection = 0

    def tell(self, fact: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> list[Effect]:
        """Tell the machine something, a tenth of a second later."""
        self.now += 0.1
        return fact(*args, now=self.now, **kwargs)

    def start(self) -> None:
        """Start, and open the connection that is wanted."""
        self.tell(self.bot.start)

    def connect(self) -> list[Effect]:
        """Open the next connection to Telegram."""
        self.connection += 1
        return self.tell(self.bot.connected, self.connection)

    def answer(self, result: Any) -> list[Effect]:
        """Telegram's answer to what was asked last."""
        return self.arrive(http(json.dumps({"ok": True, "result": result}).encode()))

    def arrive(self, data: bytes) -> list[Effect]:
        """Bytes that come over the connection."""
        return self.tell(self.bot.received, self.connection, data)

    def ask(self, body: bytes, secret: str = SECRET, *, version: str = "1.1") -> list[Effect]:
        """A webhook's request, on a connection of its own."""
        self.connection = self.bot.new_connection()
        self.tell(self.bot.accepted, self.connection)
        head = f"POST / HTTP/{version}\r\nhost: x\r\nx-telegram-bot-api-secret-token: {secret}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return self.arrive(head.encode() + body)

    @property
    def text(self) -> str:
        """The whole trace."""
        assert self.bot.close() == []
        return "".join(self.lines)

    def read(self) -> Trace:
        """The trace, read."""
        assert self.bot.close() == []
        return read_trace(self.lines)

    def check(self) -> Trace:
        """The trace is replayed with the same effects, and holds no secret."""
        trace = self.read()
        assert HALF not in self.text
        assert SECRET not in self.text
        assert str(replay(trace)) == "None"
        return trace


def http(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"content-length: {len(body)}", *headers, "", ""]).encode() + body


def message(update_id: int = 5, text: str = "hi", chat: int = 1) -> dict[str, Any]:
    return {"update_id": update_id, "message": {"message_id": 1, "chat": {"id": chat}, "text": text}}


def webhook(**options: Any) -> WebhookOptions:
    return WebhookOptions(secret_token=SECRET, **options)


# What is recorded


def test_each_input_becomes_a_line_after_the_first() -> None:
    """The first says how the machine was built; the others when it was told what, and what came of it."""
    run = Run(PollingOptions(limit=7), about={"hookline": "1.2.3"})
    run.start()
    run.connect()
    header, start, connected = map(json.loads, run.text.splitlines())

    assert header["format"] == "hookline trace"
    assert header["version"] == 1
    assert header["about"] == {"hookline": "1.2.3"}
    assert header["source"]["limit"] == 7
    assert header["start"] == 100.1
    assert start["method"] == "start"
    assert start["now"] == 0.0
    assert [effect["$"] for effect in start["effects"]] == ["Connect"]
    assert connected["arguments"] == {"connection": 1}
    assert connected["effects"][0]["data"]["text"].startswith("POST /bot42:xxxxxx")


def test_every_input_of_the_machine_is_recorded() -> None:
    """All public methods but those that only read it."""
    methods = {name for name, value in vars(Bot).items() if inspect.isfunction(value) and not name.startswith("_")}

    assert methods - {"healthy", "screen"} == INPUTS


def test_a_line_is_given_out_as_soon_as_the_input_is_told() -> None:
    run = Run(PollingOptions())
    run.start()
    assert len(run.lines) == 2
    run.connect()
    assert len(run.lines) == 3


def test_connections_numbered_before_the_start_are_recorded() -> None:
    """They wait for the time of the first input, which the first line says."""
    run = Run(webhook())
    assert run.bot.new_connection() == 1
    assert run.lines == []
    run.start()
    run.check()


@given(start=st.floats(0, 1e10), after=st.lists(st.floats(0, 1e7), max_size=5))
def test_times_are_exact(start: float, after: list[float]) -> None:
    """What the replay adds up is the machine's time to the last bit."""
    lines: list[str] = []
    bot = Recorder(TOKEN, write=lines.append)
    times = [start, *(start + seconds for seconds in sorted(after))]
    for now in times:
        bot.tick(now)
    trace = read_trace(lines)

    assert [trace.header.start + given.now for given in trace.inputs if given.now is not None] == times


def test_a_time_that_cannot_be_given_ends_the_trace_and_not_the_run() -> None:
    """As of a clock that begins below zero, where there are more numbers than sums."""
    lines: list[str] = []
    bot = Recorder(TOKEN, write=lines.append)
    bot.start(-1e9)
    (complaint,) = bot.tick(1e-9)

    assert isinstance(complaint, Log)
    assert "the trace ends here" in complaint.text


def test_a_recorded_bot_does_what_any_does() -> None:
    """Its effects are those of a plain one."""
    run = Run(PollingOptions())
    plain = Bot(TOKEN, PollingOptions(), seed=7)

    assert run.bot.start(5.0) == plain.start(5.0)
    assert run.bot.connected(1, 5.5) == plain.connected(1, now=5.5)
    assert run.bot.deadline == plain.deadline


# Replay


@pytest.mark.exhaustive
@given(st.integers(0, 2**32))
@settings(max_examples=60)
def test_every_recorded_run_replays_the_same(seed: int) -> None:
    """Random worlds: slow and failing handlers that call the API, faults, crashes, a stop."""
    for lines in record(generate(seed)).values():
        assert str(replay(read_trace(lines))) == "None"
        assert WORLDS_SECRET not in "".join(lines)


def test_what_the_programs_functions_decided_is_replayed() -> None:
    """Answers of lane, on_timeout and reply_with; the replay does not have the functions."""
    run = Run(
        webhook(timeout=1.0),
        lane=lambda raw: f"lane {raw['message']['text']}",
        on_timeout=lambda update: "return",
        reply_with=lambda method: method == "sendMessage",
    )
    run.start()
    (handle,) = run.ask(json.dumps(message(5, "a")).encode())
    assert isinstance(handle, Handle)
    assert handle.update.lane == "lane a"
    sent = run.tell(run.bot.call, 1, "sendMessage", {"chat_id": 1}, job=handle.job)
    assert sent[-1] == Resolve(1, REPLIED)
    run.ask(json.dumps(message(6, "b")).encode())
    run.now += 2
    run.tell(run.bot.tick)
    trace = run.check()

    asked = [(asked.function, asked.answer) for given in trace.inputs for asked in given.asked]
    assert asked == [("lane", "lane a"), ("reply_with", True), ("lane", "lane b"), ("on_timeout", "return")]


@pytest.mark.parametrize("answer", [None, 1.5, ["a"], ("a", 1), {"$": 1}, {1: 2}, b"\xff", math.nan, object()])
def test_answers_that_make_no_sense_are_replayed(answer: Any) -> None:
    """The reports that name them are the same."""
    run = Run(webhook(timeout=1.0), lane=lambda raw: answer, on_timeout=lambda update: answer)
    run.start()
    effects = run.ask(json.dumps(message()).encode())
    assert [effect.verdict for effect in effects if isinstance(effect, Report)] == [Verdict.POLICY_FAILED]
    run.now += 2
    effects = run.tell(run.bot.tick)
    assert Verdict.POLICY_FAILED in [effect.verdict for effect in effects if isinstance(effect, Report)]
    run.check()


def test_what_the_programs_functions_raised_is_replayed() -> None:
    """By class and text; out of reply_with it goes to whoever made the call."""

    class OddError(Exception):
        """Something of the program's own."""

    def fail(_: Any) -> Any:
        raise OddError(f"no: {HALF}")

    run = Run(webhook(timeout=1.0), lane=fail, on_timeout=fail, reply_with=fail)
    run.start()
    effects = run.ask(json.dumps(message()).encode())
    assert isinstance(effects[0], Report)
    assert "OddError" in effects[0].text
    with pytest.raises(OddError):
        run.tell(run.bot.call, 1, "sendDocument", {"document": InputFile(b"a")}, job=1)
    run.now += 2
    run.tell(run.bot.tick)
    run.tell(run.bot.call, 2, "sendDocument", {"document": InputFile(b"b")})  # its boundary is the second
    run.connect()
    run.check()


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("not a method", {}),
        ("sendMessage", {"text": object()}),
        ("sendMessage", {"text": math.inf}),
        ("sendMessage", {"text": b"bytes"}),
        ("sendDocument", {"document": InputFile(object())}),
        ("sendMessage", {"text": {"$": 1, 2: {3}}, "file": PurePosixPath("a")}),
    ],
)
def test_a_refused_input_is_recorded_and_refused_again(method: str, params: dict[str, Any]) -> None:
    run = Run()
    run.start()
    with pytest.raises(LocalProtocolError):
        run.tell(run.bot.call, 1, method, params)
    trace = run.check()

    assert trace.inputs[-1].raised is not None
    assert trace.inputs[-1].raised[0] == "LocalProtocolError"


def test_a_refused_input_that_cannot_be_written_down_is_passed_over() -> None:
    """It changed nothing, so the replay does without it."""
    nested: list[Any] = []
    nested.append(nested)
    run = Run()
    run.start()
    with pytest.raises(LocalProtocolError):
        run.tell(run.bot.call, 1, "sendMessage", {"text": nested})
    run.tell(run.bot.call, 1, "getMe", {})
    trace = run.check()

    assert trace.inputs[1].arguments is None


@pytest.mark.parametrize("source", [PurePosixPath("a/b.bin"), PureWindowsPath("a\\b.bin"), StreamId(3)])
def test_a_files_bytes_are_not_recorded(source: Any) -> None:
    """Only how many were read at a time: the machine depends on no more."""
    run = Run()
    run.start()
    run.tell(run.bot.call, 1, "sendDocument", {"document": InputFile(source, "b.bin"), "caption": "see"})
    pull = run.connect()[-1]
    for data in (b"the content of the file", b"\r\n", b"17\r\n17\r\n"):
        effects = run.tell(run.bot.pulled, run.connection, data)
        assert effects[-1] == pull
    run.tell(run.bot.pulled, run.connection, b"")
    run.answer({"message_id": 1})
    trace = run.check()

    assert "the content of the file" not in run.text
    assert trace.inputs[3].arguments == {"connection": 1, "data": bytes(23)}
    assert "b.bin" in run.text


def test_a_file_in_an_answer_to_an_old_client_is_replayed() -> None:
    """To HTTP/1.0 it goes without any framing."""
    run = Run(webhook(), reply_with=lambda method: True)
    run.start()
    run.ask(json.dumps(message()).encode(), version="1.0")
    run.tell(run.bot.call, 1, "sendPhoto", {"photo": InputFile(PurePosixPath("photo.png"))}, job=1)
    (sent, _) = run.tell(run.bot.pulled, run.connection, b"picture\r\n")
    assert sent == Send(run.connection, b"picture\r\n")
    run.tell(run.bot.pulled, run.connection, b"")
    run.tell(run.bot.finished, 1, Returned())
    run.check()

    assert "picture" not in run.text


def test_a_file_given_as_bytes_is_recorded_whole() -> None:
    run = Run()
    run.start()
    run.tell(run.bot.call, 1, "sendDocument", {"document": InputFile(b"\xff" * 9_000)})
    run.connect()
    trace = run.check()

    assert trace.inputs[1].arguments is not None
    assert trace.inputs[1].arguments["params"] == {"document": InputFile(b"\xff" * 9_000)}
    assert trace.inputs[2].effects[0]["data"]["$"] == "LongBytes"


def test_a_difference_in_long_bytes_is_found() -> None:
    """Though an effect has only their digest."""
    run = Run()
    run.start()
    run.tell(run.bot.call, 1, "sendMessage", {"text": "a" * 2 * LONG})
    run.connect()
    lines = [line.replace("a" * LONG, "a" * (LONG - 1) + "b", 1) for line in run.text.splitlines(keepends=True)]
    difference = replay(read_trace(lines))

    assert difference is not None
    assert difference.input.method == "connected"
    assert isinstance(unpack(difference.actual[0]["data"]), LongBytes)


def test_a_download_is_replayed() -> None:
    run = Run()
    run.start()
    run.tell(run.bot.download, 1, "documents/a b.bin")
    run.connect()
    run.arrive(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n0123456789")
    run.arrive(b"9876543210")
    run.tell(run.bot.download, 2, "documents/b")
    run.tell(run.bot.cancel, 2)
    run.tell(run.bot.stop)
    run.check()


def test_outcomes_of_every_kind_are_replayed() -> None:
    run = Run(webhook())
    run.start()
    for number, outcome in enumerate([Returned(), Raised("ValueError: no", "Traceback ..."), Cancelled()], 1):
        run.ask(json.dumps(message(number, chat=number)).encode())
        run.tell(run.bot.finished, number, outcome)
    run.tell(run.bot.connect_failed, 99, "refused")
    run.tell(run.bot.pull_failed, 99, "gone")
    run.tell(run.bot.disconnected, run.connection, "reset")
    run.tell(run.bot.stop)
    run.check()


def test_json_that_text_cannot_hold_is_recorded() -> None:
    """Half of a surrogate pair, as JSON may have it, and line separators of Unicode's own."""
    run = Run(webhook())
    run.start()
    body = json.dumps(message(text="\ud800 \u2028 \x85 é")).encode()
    run.ask(body)
    run.ask('{"update_id": 6, "message": {"text": "\u2028 é"}}'.encode())
    run.check()

    for line in run.lines:
        line.encode("utf-8")
    assert "é" in run.lines[-1]


def test_a_decoder_of_the_programs_own_is_said() -> None:
    """It can't be recorded: the replay takes the default."""
    lines: list[str] = []
    Recorder(TOKEN, write=lines.append, decode=json.loads).start(1.0)

    assert "default" in read_trace(lines).header.decode
    assert read_trace(lines).header.decode != "default"


def test_an_effect_that_differs_is_found_and_shown() -> None:
    """The first one, with its line, its time, the input, and what should have come."""
    run = Run(webhook())
    run.start()
    run.ask(json.dumps(message(5, "hi")).encode())
    run.tell(run.bot.finished, 1, Returned())
    run.tell(run.bot.stop)
    lines = [line.replace("200 OK", "201 OK") for line in run.text.splitlines(keepends=True)]
    difference = replay(read_trace(lines))

    assert difference is not None
    assert difference.input.line == 6
    assert "201 OK" in difference.expected[0]["data"]["text"]
    assert "200 OK" in difference.actual[0]["data"]["text"]
    shown = str(difference).splitlines()
    assert shown[0] == "line 6, at 0.300000 s: finished(job=1, outcome=Returned())"
    assert shown[1].startswith('  expected: {"$": "Send"')
    assert shown[2].startswith('  actual:   {"$": "Send"')


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ('"number":1', '"number":8', '{"number": 1}'),
        ('"effects":[]', '"raised":["ValueError","no"]', "nothing more"),
        ('"function":"lane"', '"function":"reply_with"', '{"asked": "reply_with"}'),
        ('"job":1,"outcome"', '"job":3,"outcome"', "there is no job 3"),
    ],
)
def test_other_differences_are_found(old: str, new: str, shown: str) -> None:
    """A number, an exception, a question to the program's own functions."""
    run = Run(webhook(), lane=lambda raw: 1, reply_with=lambda method: False)
    run.start()
    run.ask(json.dumps(message()).encode())
    run.tell(run.bot.finished, 1, Returned())
    text = run.text
    assert old in text
    difference = replay(read_trace(text.replace(old, new, 1).splitlines(keepends=True)))

    assert shown in str(difference)
    assert difference is not None


def test_a_trace_is_replayed_again_from_the_same_values() -> None:
    """What was read is not used up."""
    run = Run(PollingOptions())
    run.start()
    run.connect()
    run.answer(ME)
    trace = run.check()

    assert replay(trace) is None


# Secrets


def set_webhook(run: Run) -> None:
    """Start a bot that sets its webhook."""
    run.start()
    run.connect()


def test_the_secrets_that_the_bot_sends_are_blotted() -> None:
    """The token in each target, the secret token in setWebhook, as JSON and as a form."""
    for certificate in (None, b"-----BEGIN CERTIFICATE-----"):
        options = SetWebhookOptions(url=f"https://example.org/{HALF}", certificate=certificate)
        run = Run(webhook(path=f"/{HALF}"), set_webhook=options)
        set_webhook(run)
        run.answer(True)
        run.check()

        assert f"/bot42:{'x' * len(HALF)}/setWebhook" in run.text
        assert "y" * len(SECRET) in run.text


def test_a_secret_that_a_program_sends_is_blotted_wherever_it_is() -> None:
    """In a text, a name, a file, a path, a lane, an exception."""
    run = Run(webhook(), lane=lambda raw: HALF)
    run.start()
    params = {
        "text": f"{HALF} {SECRET}",
        HALF: {SECRET: [HALF]},
        "a": InputFile(HALF.encode() + b"\xff", f"{SECRET}.txt"),
        "b": InputFile(PurePosixPath(f"/{HALF}")),
    }
    run.tell(run.bot.call, 1, "sendDocument", params)
    run.connect()
    run.tell(run.bot.pulled, run.connection, HALF.encode())
    run.tell(run.bot.download, 2, f"{HALF}/{SECRET}")
    run.ask(json.dumps(message()).encode())
    run.tell(run.bot.finished, 1, Raised(f"ValueError: {HALF}"[:30], f"Traceback: {SECRET}"))
    run.tell(run.bot.connect_failed, 7, f"no way to {SECRET}")
    run.check()

    assert "ValueError: xxxxxx" in run.text
    assert HALF[:16] not in run.text


@pytest.mark.parametrize("secret", ["secret", "12345678", "-12345e67"])
def test_a_secret_token_that_cannot_be_told_from_other_text_is_refused(secret: str) -> None:
    with pytest.raises(OptionError, match="choose another secret token, or run without a trace"):
        Recorder(TOKEN, WebhookOptions(secret_token=secret), write=lambda line: None)


WRITTEN: list[Callable[[str], str]] = [
    str,
    lambda text: "".join(f"%{ord(character):02x}" for character in text),
    lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
]


@pytest.mark.exhaustive
@given(
    written=st.sampled_from(WRITTEN),
    secret=st.sampled_from([HALF, SECRET]),
    before=st.text(max_size=5),
    after=st.text(max_size=5),
    chunks=st.booleans(),
    cuts=st.lists(st.integers(0, 1_000), max_size=6),
)
@settings(max_examples=200)
def test_no_secret_that_a_server_echoes_survives(
    written: Callable[[str], str], secret: str, before: str, after: str, chunks: bool, cuts: list[int]
) -> None:
    """However it is encoded, and wherever the pieces and the chunks end; the run replays the same."""
    run = Run(webhook())
    run.start()
    run.tell(run.bot.call, 1, "getMe", {})
    run.connect()
    text = f"{json.dumps(before)[1:-1]}{written(secret)}{json.dumps(after)[1:-1]}"
    body = f'{{"ok":false,"error_code":400,"description":"{text}"}}'.encode()
    if chunks:
        pieces = [body[place : place + 7] for place in range(0, len(body), 7)]
        framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        answer = b"HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n" + framed
    else:
        answer = http(body)
    effects: list[Effect] = []
    ends = sorted({min(cut, len(answer)) for cut in cuts} | {0, len(answer)})
    for begin, end in pairwise(ends):
        effects += run.arrive(answer[begin:end])
    trace = run.check()

    (resolved,) = [effect for effect in effects if isinstance(effect, Resolve)]
    assert isinstance(resolved.outcome, Refused)
    data = b"".join(given.arguments["data"] for given in trace.inputs if given.arguments and "data" in given.arguments)
    assert len(data) == len(answer)
    assert secret.encode() not in data


@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_no_secret_of_a_request_survives(cuts: list[int]) -> None:
    """Telegram sends it in a header, whose pieces may end anywhere; a stranger's wrong one is nobody's secret."""
    run = Run(webhook())
    run.start()
    for secret in (SECRET, "another-secret-token"):
        run.connection = run.bot.new_connection()
        run.tell(run.bot.accepted, run.connection)
        body = json.dumps(message()).encode()
        head = f"POST /?{HALF} HTTP/1.1\r\nhost: x\r\nX-Telegram-Bot-Api-Secret-Token: {secret}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        request = head.encode() + body
        ends = sorted({min(cut, len(request)) for cut in cuts} | {0, len(request)})
        for begin, end in pairwise(ends):
            run.arrive(request[begin:end])
    trace = run.check()

    data = b"".join(given.arguments["data"] for given in trace.inputs if given.arguments and "data" in given.arguments)
    assert b"another-secret-token" in data


def test_a_download_that_holds_a_secret_is_blotted() -> None:
    """In what came and in what the program got, which are not cut alike."""
    run = Run()
    run.start()
    run.tell(run.bot.download, 1, "backup")
    run.connect()
    content = f"token: {HALF}."
    framed = "".join(f"1\r\n{character}\r\n" for character in content) + "0\r\n\r\n"
    answer = f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{framed}".encode()
    effects: list[Effect] = []
    for place in range(0, len(answer), 20):
        effects += run.arrive(answer[place : place + 20])
    trace = run.check()

    assert b"".join(effect.data for effect in effects if isinstance(effect, Receive)).decode() == content
    kept = [effect["data"]["text"] for given in trace.inputs for effect in given.effects if effect["$"] == "Receive"]
    assert "".join(kept) == f"token: {'x' * len(HALF)}."


def test_a_line_waits_while_its_bytes_may_end_within_a_secret() -> None:
    """So do those after it; they come in their order once it is known."""
    run = Run()
    run.start()
    run.tell(run.bot.call, 1, "getMe", {})
    run.connect()
    before = len(run.lines)
    answer = http(b"token: " + HALF.encode())
    run.arrive(answer[:-3])
    run.tell(run.bot.tick)
    assert len(run.lines) == before
    run.arrive(answer[-3:])

    assert len(run.lines) == before + 3
    run.check()


@pytest.mark.parametrize("end", ["eof", "disconnected", "stop"])
def test_a_line_does_not_wait_past_the_end_of_its_connection(end: str) -> None:
    run = Run()
    run.start()
    run.tell(run.bot.call, 1, "getMe", {})
    run.connect()
    run.arrive(http(b"token: " + HALF.encode())[:-3])
    before = len(run.lines)
    if end == "eof":
        run.arrive(b"")
    elif end == "disconnected":
        run.tell(run.bot.disconnected, run.connection, "reset")
    else:
        run.tell(run.bot.stop)

    assert len(run.lines) == before + 2
    run.check()


def test_a_line_that_waits_too_long_is_written_and_gives_nothing_away() -> None:
    """A download may stall for ever; what it ended with is blotted then."""
    run = Run()
    run.start()
    run.tell(run.bot.download, 1, "backup")
    run.connect()
    run.arrive(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ntoken: " + HALF[:4].encode())
    before = len(run.lines)
    for _ in range(MAX_HELD):
        run.bot.tick(now=run.now)  # at the same time, since a stalled download ends after a while
    assert len(run.lines) > before
    run.arrive(HALF[4:].encode() + b"!")

    text = run.text
    assert HALF not in text
    assert HALF[4:] not in text
    assert "token: xxxx" in text


# Trouble with the writing


def test_a_write_that_fails_ends_the_trace_and_not_the_run() -> None:
    """It is said once, before the effects; the machine goes on as any."""
    written: list[str] = []

    def write(line: str) -> None:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(line)

    bot = Recorder(TOKEN, PollingOptions(), write=write, seed=7)
    plain = Bot(TOKEN, PollingOptions(), seed=7)
    assert bot.start(1.0) == plain.start(1.0)
    assert bot.connected(1, 2.0) == plain.connected(1, 2.0)
    assert bot.new_connection() == plain.new_connection()
    complaint, *effects = bot.tick(50.0)
    assert complaint == Log("the trace ends here: OSError: [Errno 28] No space left on device", 30)
    assert effects == plain.tick(50.0)
    assert bot.tick(100.0) == plain.tick(100.0)
    assert bot.close() == []
    assert len(written) == 3


def test_trouble_at_the_end_is_said_at_the_close() -> None:
    """There is no effect to say it before."""

    def write(line: str) -> None:
        raise OSError(28, "No space left on device")

    bot = Recorder(TOKEN, write=write)
    bot.new_connection()
    with pytest.raises(LocalProtocolError):
        bot.accepted(7, 1.0)

    assert [type(complaint) for complaint in bot.close()] == [Log]


# Reading


def written() -> list[str]:
    """The lines of a short run."""
    run = Run(webhook())
    run.start()
    run.ask(json.dumps(message()).encode())
    run.tell(run.bot.finished, 1, Returned())
    return run.text.splitlines(keepends=True)


def test_a_last_line_that_is_cut_off_is_left_out() -> None:
    """As by a process that was killed; it is said."""
    lines = written()
    whole = read_trace(lines)
    cut = read_trace([*lines[:-1], lines[-1][:-20]])

    assert not whole.cut_off
    assert cut.cut_off
    assert cut.inputs == whole.inputs[:-1]
    assert replay(cut) is None


def test_a_line_in_the_middle_that_is_cut_off_is_an_error() -> None:
    lines = written()
    with pytest.raises(TraceError, match="line 3 of the trace is no JSON"):
        read_trace([*lines[:2], lines[2][:-20], *lines[3:]])


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("", "does not begin with a line of JSON"),
        ("[1]", "does not name the format"),
        ('{"format": "another"}', "does not name the format"),
        ("#!/bin/sh", "does not begin with a line of JSON"),
    ],
)
def test_what_is_no_trace_is_refused(first: str, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        read_trace([first] if first else [])


@pytest.mark.parametrize(
    ("line", "old", "new", "said"),
    [
        (1, '"version":1', '"version":2', "is of version 2, and this hookline reads 1: use a newer hookline"),
        (1, '"seed":7', '"seed":"7"', "line 1 of the trace is not as it should be"),
        (1, '"seed":7,', "", "line 1 of the trace is not as it should be"),
        (1, '"max_body"', '"biggest"', "a value that this hookline does not know"),
        (1, '"timeout":10.0', '"timeout":1000.0', "timeout must be a number"),
        (2, '"method":"start"', '"method":"endpoint"', "does not know: 'endpoint'"),
        (2, '"now":0.0', '"now":"soon"', "line 2 of the trace is not as it should be"),
        (6, '"$":"Returned"', '"$":"Vanished"', "line 6 of the trace has a value that this hookline does not know"),
        (6, '{"$":"Returned"}', '{"$":"Returned","more":1}', "line 6 of the trace has a value"),
        (6, '"arguments":{"job":1', '"arguments":7,"more":{"job":1', "line 6"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(line: int, old: str, new: str, said: str) -> None:
    """Whatever it is that this version does not know."""
    lines = written()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    with pytest.raises(TraceError, match=said):
        read_trace(lines)


def test_a_header_that_builds_no_machine_is_an_error() -> None:
    lines = written()
    with pytest.raises(TraceError, match="line 1 of the trace builds no machine"):
        replay(read_trace([lines[0].replace('"token":"42:', '"token":"no:'), *lines[1:]]))


# Values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner).map(tuple),
    max_leaves=10,
)


@given(JSON | st.binary() | st.dictionaries(st.integers() | st.just("$"), st.binary(max_size=3)))
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    """Through the text of JSON, and with its type."""
    packed = json.loads(json.dumps(pack(value, str, pack_bytes)))

    assert repr(unpack(packed)) == repr(value)


def test_every_effect_and_outcome_is_known() -> None:
    """What a machine gives or is given has a name in a trace."""
    from hookline import effects, outcomes

    for alias in (effects.Effect, outcomes.Outcome, outcomes.FetchOutcome):
        for name in str(alias).replace("|", " ").split():
            assert name in VALUES or name in ENUMS, name


@pytest.mark.parametrize(
    "value",
    [
        Report(Verdict.FLOOD, "text", 5, {"a": [1.0]}),
        Resolve(1, REPLIED),
        Resolve(1, Refused(429, "wait", 3.0)),
        Handle(1, Update(5, "message", {"a": 1}, {"message": {"a": 1}}, "lane")),
    ],
)
def test_an_effect_comes_back_as_it_was(value: Any) -> None:
    assert unpack(json.loads(json.dumps(pack(value, str, pack_bytes)))) == value


def test_options_come_back_as_they_were() -> None:
    for options in (
        PollingOptions(allowed_updates=("message",), grace=1.5),
        webhook(),
        SetWebhookOptions(url="https://example.org/", certificate=b"\xff"),
        ApiOptions(root="http://127.0.0.1:1"),
        HttpLimits(max_head=2_048),
    ):
        assert unpack(pack(options, str, pack_bytes)) == options
