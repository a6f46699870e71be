"""The parameters of requests and of webhooks' responses, as the server reads them (2.1, 3.1, 4.7 and 5.2)."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.sim.params import MAX_INFLATED, MAX_PARAMETER_BYTES, Params, read_params

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
MANY = "Request Entity Too Large: too many parameters"


def read(body: bytes | str = b"", content_type: str | None = JSON, query: str = "", **headers: str) -> Params:
    """The parameters of a request with this body; other headers by name, `_` for `-`."""
    data = body.encode() if isinstance(body, str) else body
    named = [("content-type", content_type)] if content_type is not None else []
    named += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return read_params(query, tuple(named), data)


def form(*parts: tuple[str, bytes], end: bytes = b"--\r\n", boundary: bytes = b"b") -> bytes:
    """A multipart body: the attributes of each part, and its content."""
    body = b"".join(
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary, attributes.encode(), content)
        for attributes, content in parts
    )
    return body + b"--" + boundary + end


# Integers and booleans (2.1, 3.1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("007", 7),
        ("1.5", 1),
        ("50s", 50),
        ("5 6", 5),
        ("+5", 0),
        (" 5", 0),
        ("null", 0),
        ("true", 0),
        ("-", 0),
        ("--5", 0),
        ("\u0665", 0),
        ("2147483647", 2_147_483_647),
        ("2147483648", -2_147_483_648),
        ("3000000000", -1_294_967_296),
        ("4294967295", -1),
        ("4294967296", 0),
        ("-4294967295", 1),
        ("9" * 5_000, int("9" * 32) % 2**32 - 2**32),
    ],
)
def test_an_integer_is_its_leading_digits_in_32_bits(text: str, value: int) -> None:
    """No error is ever raised (2.1)."""
    assert Params({"offset": text}).raw_integer("offset", 9) == value


def test_an_integer_that_is_empty_or_absent_is_its_default() -> None:
    """Not so a null, which is a text (2.1)."""
    assert Params({"limit": ""}).integer("limit", 100, 1, 100) == 100
    assert Params().integer("limit", 100, 1, 100) == 100
    assert read('{"limit": null}').integer("limit", 100, 1, 100) == 1


@pytest.mark.parametrize(("text", "value"), [("0", 1), ("-7", 1), ("1", 1), ("100", 100), ("101", 100)])
def test_an_integer_is_clamped(text: str, value: int) -> None:
    """After it was read (2.1)."""
    assert Params({"limit": text}).integer("limit", 100, 1, 100) == value


@pytest.mark.parametrize("text", ["true", "yes", "1", "True", "YES", " true\n"])
def test_these_are_true(text: str) -> None:
    """Any case, trimmed (3.1)."""
    assert Params({"drop": text}).flag("drop")


@pytest.mark.parametrize("text", ["false", "no", "0", "", "on", "2", "null", "t", "truee"])
def test_all_else_is_false(text: str) -> None:
    """As is what is absent (3.1)."""
    assert not Params({"drop": text}).flag("drop")
    assert not Params().flag("drop")


# Where parameters come from (2.1, 5.2)


def test_the_first_occurrence_of_a_name_wins_and_the_query_comes_first() -> None:
    """In the query, in a form and in JSON (2.1)."""
    assert read("limit=3&limit=4&offset=5", FORM, query="limit=1&limit=2").values == {"limit": "1", "offset": "5"}
    assert read('{"limit": 3, "limit": 4, "offset": 5}', query="limit=1").values == {"limit": "1", "offset": "5"}
    assert read(form(('name="a"', b"1"), ('name="a"', b"2")), MULTIPART).values == {"a": "1"}


def test_names_are_case_sensitive() -> None:
    """`Limit` is not `limit` (2.1)."""
    assert read(query="Limit=3").values == {"Limit": "3"}


def test_a_form_is_percent_decoded_and_plus_is_a_space() -> None:
    """In the query as in the body (5.2)."""
    assert read("text=a+b%20%C3%A4&empty=&bare", FORM).values == {"text": "a b ä", "empty": "", "bare": ""}
    assert read(query="text=a+b%2B").values == {"text": "a b+"}


@pytest.mark.parametrize("content_type", ["APPLICATION/JSON", "text/application/json2", "application/json;charset=x"])
def test_a_content_type_is_recognised_by_a_part_of_it(content_type: str) -> None:
    """By substring, in any case (5.2)."""
    assert read('{"a": "1"}', content_type).values == {"a": "1"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-json", "", None])
def test_a_body_of_any_other_type_is_one_file(content_type: str | None) -> None:
    """In the field `file`; parameters in it are not seen (5.2)."""
    params = read('{"a": "1"}', content_type)
    assert params.values == {}
    assert params.files["file"].content == b'{"a": "1"}'


def test_no_body_is_no_file() -> None:
    """There is nothing to read (5.2)."""
    assert read(b"", "text/plain") == Params()


# JSON (5.2)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ('{"a": "x\\u00e4\\n"}', {"a": "xä\n"}),
        ('{"a": 1.50}', {"a": "1.50"}),
        ('{"a": -0e1}', {"a": "-0e1"}),
        ('{"a": true, "b": null}', {"a": "true", "b": "null"}),
        ('{"a": [1,  "x"]}', {"a": '[1,  "x"]'}),
        ('{"a": {"b" : []} }', {"a": '{"b" : []}'}),
        (' \n{ "a" : "1" , "b":"2" } ', {"a": "1", "b": "2"}),
        ('{"a": ' + "9" * 5_000 + "}", {"a": "9" * 5_000}),
        ("{}", {}),
        ("", {}),
        ('"text"', {"content": "text"}),
        ('"text" x', {}),
        ("[1]", {}),
        ("5", {}),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_json_strings_are_decoded_and_all_else_is_its_own_text(body: str, values: dict[str, str]) -> None:
    """A top-level string is the parameter `content`; other values are no parameters (5.2)."""
    assert read(body) == Params(values)


@pytest.mark.parametrize(
    "body",
    [
        '{"a": "1"',
        '{"a": "1",',
        '{"a": "1", }',
        '{"a": "1", "b"',
        '{"a": "1", "b": ',
        '{"a": "1", "b": "2',
        '{"a": "1", "b": NaN}',
        '{"a": "1", "b": nul',
        '{"a": "1" "b": "2"}',
        '{"a": "1", b: "2"}',
        '{"a": "1", 5: "2"}',
        '{"a": "1", "b" "2"}',
        '{"a": "1"} trailing',
        '{"a": "1", "b": ' + "[" * 101 + "1" + "]" * 101 + "}",
        '{"a": "1", "b": ' + "[" * 100_000,
    ],
    ids=lambda body: body[9:25],
)
def test_json_that_breaks_off_leaves_what_was_read_before(body: str) -> None:
    """The error is not reported; the method runs with that. Deeper than 100 is an error too (5.2)."""
    assert read(body) == Params({"a": "1"})


def test_json_may_nest_to_100() -> None:
    """No deeper (5.2)."""
    deep = "[" * 100 + "1" + "]" * 100
    assert read('{"a": ' + deep + "}").values == {"a": deep}


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    """It could not be sent again, so that the answers of the simulation stay JSON."""
    assert read(r'{"a": "\ud800x"}').values == {"a": "?x"}


def test_a_json_parameter_is_decoded_or_counts_as_missing() -> None:
    """From either form of request it is the text of JSON (1.5, 5.2)."""
    assert Params({"a": '["x"]'}).json("a") == ["x"]
    assert read('{"a": ["x"]}').json("a") == ["x"]
    for text in ("[", "NaN", "", r'"\ud800"', "[" * 100_000):
        assert Params({"a": text}).json("a") is None
    assert Params().json("a") is None


# Multipart (5.2)


def test_a_part_with_a_filename_is_a_file_and_one_without_a_parameter() -> None:
    """With the type that it says, if it says one (5.2)."""
    typed = b'--b\r\nContent-Disposition: form-data; name=c; filename="x.png"\r\nContent-Type: image/png\r\n\r\nC\r\n'
    params = read(typed + form(('name="a"', b"1\r\n2"), ('name="f"; filename=""', b"\x00\r\n\xff")), MULTIPART)
    assert params.values == {"a": "1\r\n2"}
    assert {name: (file.filename, file.content_type, file.content) for name, file in params.files.items()} == {
        "c": ("x.png", "image/png", b"C"),
        "f": ("", "application/octet-stream", b"\x00\r\n\xff"),
    }


@pytest.mark.parametrize("value", ["b", '"b"', " b ; charset=utf-8", "b" * 70, "'()+_,-./:=?"])
def test_a_boundary_is_bare_or_quoted(value: str) -> None:
    """1 to 70 bytes (5.2)."""
    boundary = value.partition(";")[0].strip().strip('"').encode()
    params = read(form(('name="a"', b"1"), boundary=boundary), f"multipart/form-data; boundary={value}")
    assert params == Params({"a": "1"})


def test_what_stands_around_the_parts_is_passed_over() -> None:
    """A prologue and an epilogue (5.2)."""
    assert read(b"prologue\r\n" + form(('name="a"', b"1")) + b"epilogue", MULTIPART) == Params({"a": "1"})


def test_a_file_is_found_by_its_field_or_by_attach() -> None:
    """`attach://<field>`, or the parameter's own name (5.2)."""
    params = read(form(('name="photo"', b"attach://f"), ('name="f"; filename="x"', b"F")), MULTIPART)
    assert params.file("photo") == params.file("f") == params.files["f"]
    assert params.file("video") is None
    assert Params({"photo": "attach://none"}).file("photo") is None
    assert Params({"photo": "a plain text"}).file("photo") is None


# What can't be read (4.7, 5.2, 5.3)

PROBLEMS: dict[str, tuple[Callable[[], Params], str, int]] = {
    "JSON over 1 MiB": (lambda: read("x" * (MAX_PARAMETER_BYTES + 1)), MANY, 413),
    "a form over 1 MiB": (lambda: read("x" * (MAX_PARAMETER_BYTES + 1), FORM), MANY, 413),
    "query and body over 1 MiB": (lambda: read("x" * MAX_PARAMETER_BYTES, FORM, query="y"), MANY, 413),
    "multipart values over 1 MiB": (
        lambda: read(form(('name="a"', b"x" * MAX_PARAMETER_BYTES), ('name="b"', b"x")), MULTIPART),
        f"{MANY} in form data",
        413,
    ),
    "51 files": (
        lambda: read(form(*[('name="f"; filename="x"', b"")] * 51), MULTIPART),
        "Request Entity Too Large: too many files attached",
        413,
    ),
    "multipart headers over 256 KiB": (
        lambda: read(form(*[('name="a"; x="' + "y" * 65_536 + '"', b"")] * 4), MULTIPART),
        "Request Header Fields Too Large: total headers size exceeded",
        431,
    ),
    "no closing boundary": (
        lambda: read(form(('name="a"', b"1"), end=b"\r\n"), MULTIPART),
        "Bad Request: unexpected end of request content",
        400,
    ),
    "no boundary at all": (lambda: read("text", MULTIPART), "Bad Request: unexpected end of request content", 400),
    "no part": (lambda: read("\r\n--b--\r\n", MULTIPART), "Bad Request: unexpected end of request content", 400),
    "an empty chunked form": (
        lambda: read("", MULTIPART, transfer_encoding="chunked"),
        "Bad Request: unexpected end of request content",
        400,
    ),
    "no name of the boundary": (lambda: read("x", "multipart/form-data"), "Bad Request: boundary not found", 400),
    "a boundary of 71 bytes": (
        lambda: read("x", "multipart/form-data; boundary=" + "b" * 71),
        "Bad Request: boundary too big or empty",
        400,
    ),
    "a part without a name": (
        lambda: read(form(('filename="x"', b"1")), MULTIPART),
        "Bad Request: field name in multipart/form-data not found",
        400,
    ),
    "broken gzip": (lambda: read(b"\x1f\x8b broken", content_encoding="gzip"), "Bad Request", 400),
    "gzip that breaks off": (
        lambda: read(gzip.compress(b'{"a": "1"}')[:-1], content_encoding="gzip"),
        "Bad Request",
        400,
    ),
    "a bomb": (
        lambda: read(gzip.compress(bytes(MAX_INFLATED + 1), 1), content_encoding="gzip"),
        MANY,
        413,
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_body_that_cannot_be_read_has_its_problem(name: str) -> None:
    """The table of 4.7, in its words; a request gets the status of 5.3 for it."""
    made, problem, status = PROBLEMS[name]
    params = made()
    assert (params.problem, params.status) == (problem, status)


@pytest.mark.parametrize("coding", ["br", "zstd", "identity", "gzip, deflate"])
def test_a_body_of_another_coding_cannot_be_read(coding: str) -> None:
    """Only gzip, deflate and none are known (4.7)."""
    params = read("{}", content_encoding=coding)
    assert (params.problem, params.status) == ("Unsupported Media Type: unsupported content-encoding", 415)


def test_the_largest_parameters_and_50_files_are_read() -> None:
    """The limits of 0, reached and not passed."""
    assert read("a=" + "x" * (MAX_PARAMETER_BYTES - 3), FORM, query="b").problem is None
    assert read(form(('name="a"', b"x" * MAX_PARAMETER_BYTES)), MULTIPART).problem is None
    assert len(read(form(*[(f'name="{n}"; filename="x"', b"") for n in range(50)]), MULTIPART).files) == 50


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b'{"a": "1"}')),
        ("GZIP", gzip.compress(b'{"a": "1"}')),
        ("deflate", zlib.compress(b'{"a": "1"}')),
        ("none", b'{"a": "1"}'),
    ],
    ids=["gzip", "GZIP", "deflate", "none"],
)
def test_a_body_may_be_compressed(coding: str, body: bytes) -> None:
    """gzip and deflate; `none` is none (4.7, 5.2)."""
    assert read(body, content_encoding=coding) == Params({"a": "1"})


def test_the_coding_of_no_body_does_not_matter() -> None:
    """With a body only (4.7)."""
    assert read(b"", content_encoding="br") == Params()


# Properties

TYPES = st.sampled_from([JSON, FORM, MULTIPART, "multipart/form-data", "text/plain"]) | st.text(max_size=30)
PIECES = st.sampled_from(
    [b"--b", b"--b--", b"\r\n", b"\r\n\r\n", b'name="a"', b"; filename=x", b'{"a":', b'"', b"[", b"}", b"%", b"a=1&"]
)
BODIES = st.binary(max_size=60) | st.lists(PIECES | st.binary(max_size=4), max_size=12).map(b"".join)


@given(
    body=BODIES,
    content_type=TYPES,
    query=st.text(max_size=30),
    coding=st.sampled_from(["none", "gzip", "deflate", "br", ""]) | st.text(max_size=8),
)
def test_nothing_that_is_sent_raises(body: bytes, content_type: str, query: str, coding: str) -> None:
    """Neither while it is read, nor when it is used."""
    params = read(body, content_type, query, content_encoding=coding)
    for name in [*params.values, "a", "content"]:
        params.integer(name, 1, 0, 100)
        params.flag(name)
        params.json(name)
        params.file(name)
    assert params.status in (400, 413, 415, 431)


@given(values=st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=5))
def test_strings_are_read_as_they_were_written(values: dict[str, str]) -> None:
    """In JSON, escaped or not (5.2)."""
    for escaped in (True, False):
        assert read(json.dumps(values, ensure_ascii=escaped)).values == values
