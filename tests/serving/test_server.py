"""The server from outside: what it answers, what it refuses, and how it ends."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

import masscli
from masscli.cli.app import dispatch
from masscli.core.errors import MasscliError
from masscli.serving.config import ServeConfig
from masscli.serving.models import Direction, ServedModels
from tests.preloaded import Preloaded
from tests.serving.client import Server
from tests.toy import WORDS, recipe, sentences

pytest.importorskip("starlette", reason="needs the extra masscli[serve]")
pytest.importorskip("uvicorn", reason="needs the extra masscli[serve]")
pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")

LINES = [" ".join(WORDS["en"][i] for i in walk) for walk in sentences(40, 5)]
PAGE = Path(masscli.__file__).parent / "serving/page"


@pytest.fixture(scope="module")
def runs(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `ende` and `both`, of one direction and of two."""
    folder = tmp_path_factory.mktemp("serving")
    pairs = {
        name: {"dataset": name, "objective": {"name": "translate"}}
        for name in ("en-de", "de-en")
    }
    for name, streams in (("ende", {"en-de": pairs["en-de"]}), ("both", pairs)):
        list(
            masscli.finetune(
                recipe(toy, folder / name, "train.max_update=30", streams=streams)
            )
        )
    return folder


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[Server]:
    limits = ("--max-text-length", 4000, "--max-body-bytes", 20_000)
    with Server(runs / "ende", runs / "both", *limits) as running:
        yield running


def test_texts_are_translated_as_by_the_api(server: Server, runs: Path) -> None:
    model = masscli.load(runs / "ende", device="cpu", precision="fp32")
    text = f"{LINES[0]}. {LINES[1].capitalize()}.\n\n  {LINES[2]} {{name}}"
    expected = model.translate_text(text, nbest=3)
    fields = {
        "q": text,
        "source": "en",
        "target": "de",
        "format": "text",
        "api_key": "",
    }
    assert server.translate(**fields) == (
        200,
        {"translatedText": model.translate_text(text).text},
    )
    status, answer = server.translate(**fields, alternatives=2, details=True)
    assert status == 200
    assert [answer["translatedText"], *answer["alternatives"]] == expected.texts
    assert answer["model"] == "ende"
    for line, described in zip(expected.lines, answer["lines"][0], strict=True):
        assert [t["text"] for t in described["translations"]] == list(line.texts)
        assert described["translations"][0]["confidence"] == pytest.approx(
            line.confidence
        )
        assert described["flags"] == list(line.flags)
        pieces = [[p["piece"] for p in sentence] for sentence in described["pieces"]]
        assert pieces == [list(sentence[0].pieces) for sentence in line.sentences]
    # A form, as curl -d sends it, and a list.
    form = {"content-type": "application/x-www-form-urlencoded"}
    one = server.ask("POST", "/translate", urlencode({**fields, "q": LINES[3]}), form)
    assert one == server.translate(q=LINES[3], source="auto", target="de")
    status, several = server.translate(q=LINES[:3], source="en", target="de")
    assert several["translatedText"] == [
        server.translate(q=line, source="en", target="de")[1]["translatedText"]
        for line in LINES[:3]
    ]
    assert server.translate(q=[], source="en", target="de") == (
        200,
        {"translatedText": []},
    )


def test_samples_follow_from_the_seed_and_the_text_alone(runs: Path) -> None:
    def draw(seed: int, texts: list[str]) -> list[str]:
        config = ServeConfig(device="cpu", precision="fp32", seed=seed)
        models = ServedModels([runs / "ende"], config, {"sampling": True, "beam": 1})
        found = models.translate(Direction("ende", "en", "de"), texts, nbest=1)
        return [translation.text for translation in found]

    model = masscli.load(runs / "ende", device="cpu", precision="fp32")
    together = draw(2, LINES[:6])
    assert together == [
        model.translate_text(text, seed=2, beam=1, sampling=True).text
        for text in LINES[:6]
    ]
    # Whatever shares the batch.
    assert draw(2, LINES[5:6]) == together[5:]
    assert draw(3, LINES[:6]) != together


def test_languages_models_and_health(server: Server) -> None:
    assert server.ask("GET", "/languages") == (
        200,
        [{"code": "de", "name": "German", "targets": ["en"]}, {"code": "en", "name": "English", "targets": ["de"]}],
    )  # fmt: skip
    _, models = server.ask("GET", "/models")
    known = {
        m["name"]: [(d["source"], d["target"]) for d in m["directions"]] for m in models
    }
    assert known == {"ende": [("en", "de")], "both": [("en", "de"), ("de", "en")]}
    status, health = server.ask("GET", "/health")
    assert (status, health["status"]) == (200, "ok")
    before = server.metric("masscli_texts_total")
    server.translate(q=LINES[:2], source="de", target="en")
    assert server.metric("masscli_texts_total") == before + 2
    # Every value of the metrics is a number, with a name that was explained before.
    _, text = server.ask("GET", "/metrics")
    explained = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = re.fullmatch(r"(\w+)(?:\{.*\})? (\S+)", line).groups()  # type: ignore[union-attr]
            assert name in explained
            float(value)


def test_the_page_loads_nothing_from_elsewhere(server: Server) -> None:
    connection_headers = {}
    for path in ("/", "/style.css", "/script.js", "/icon.svg"):
        status, content = server.ask("GET", path)
        assert status == 200
        links = re.findall(r"https?://[^\s\"'<]+", content)
        assert [link for link in links if link != "http://www.w3.org/2000/svg"] == []
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        head = connection.makefile("rb").read().partition(b"\r\n\r\n")[0].decode()
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        connection_headers[name] = value
    assert connection_headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'"
    )
    assert connection_headers["x-content-type-options"] == "nosniff"
    assert "server" not in connection_headers
    # What the policy forbids is not in the page: code and styles within it.
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", page)
    assert "innerHTML" not in (PAGE / "script.js").read_text(encoding="utf-8")


REFUSED = [
    (400, "not JSON", b"{"),
    (400, "not JSON", b"\xff\xfe"),
    (400, "not JSON", b"[" * 10_000),
    (400, "not a JSON object", b"[1]"),
    (400, "not a JSON object", b"null"),
    (400, "q: expected a text", b"{}"),
    (400, "q: expected a text", b'{"q": 1}'),
    (400, "q: expected a text", b'{"q": ["a", 1]}'),
    (400, "q: has an unpaired surrogate", b'{"q": "\\ud800"}'),
    (400, "source: expected a name", b'{"q": "a", "source": ["en"]}'),
    (400, "source: expected a name", b'{"q": "a", "source": "e\\nn"}'),
    (
        400,
        "no model translates in this direction (source 'en', target 'xx'); there is ende: en-de, ",
        b'{"q": "a", "source": "en", "target": "xx"}',
    ),
    (400, "no field called 'sorce', did you mean 'source'?", b'{"q":"a","sorce":"en"}'),
    (400, "no field called '\\ud800'", b'{"q": "a", "\\ud800": 1}'),
    (400, "'q' is given twice", b'{"q": "a", "source": "en", "q": "b"}'),
    (400, "details: expected true or false", b'{"q": "a", "details": "yes"}'),
    (400, "format: expected text or html", b'{"q": "a", "format": "pdf"}'),
    (
        400,
        "no model translates in this direction",
        b'{"q": "a", "source": "en", "target": "de", "model": "x"}',
    ),
    (400, "source and target are needed", b'{"q": "a"}'),
    (400, "alternatives: expected a whole number", b'{"q": "a", "alternatives": -1}'),
    (400, "alternatives: expected a whole number", b'{"q": "a", "alternatives": true}'),
    (400, "alternatives: expected a whole number", b'{"q": "a", "alternatives": 1e99}'),
    (
        400,
        "alternatives: at most 4",
        b'{"q": "a", "source": "en", "target": "de", "alternatives": 5}',
    ),
    (413, "4001 characters, at most 4000", b'{"q": "' + b"a" * 4001 + b'"}'),
    (413, "longer than 20000 bytes", b'{"q": "' + b"a" * 20_000 + b'"}'),
]


@pytest.mark.parametrize(("status", "message", "body"), REFUSED)
def test_malformed_requests_are_refused(
    server: Server, status: int, message: str, body: bytes
) -> None:
    got, answer = server.ask("POST", "/translate", body)
    assert (got, list(answer)) == (status, ["error"])
    assert message in answer["error"]


FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON_BODY = '{"q": "ba", "source": "en", "target": "de"}'


@pytest.mark.parametrize(
    ("status", "message", "body"),
    [
        (400, "'source' is given twice", "q=a&source=en&source=de"),
        (400, "no field called 'text'", "text=a"),
        (400, "more than 1000 fields", "q=a&" * 1000 + "q=a"),
        (400, "send JSON as content-type: application/json", JSON_BODY),
        (400, "details: expected true or false", "q=a&details=1"),
    ],
)
def test_malformed_forms_are_refused(
    server: Server, status: int, message: str, body: str
) -> None:
    got, answer = server.ask("POST", "/translate", body, FORM)
    assert got == status
    assert message in answer["error"]


def test_a_form_may_have_several_texts_and_empty_fields(server: Server) -> None:
    body = "q=ba&q=be&source=en&target=de&model=&format=&details=false"
    alone = [
        server.translate(q=text, source="en", target="de")[1]["translatedText"]
        for text in ("ba", "be")
    ]
    assert server.ask("POST", "/translate", body, FORM) == (
        200,
        {"translatedText": alone},
    )


@pytest.mark.parametrize(
    ("status", "message", "address", "headers"),
    [
        (
            415,
            "'multipart/form-data'",
            "",
            {"content-type": "multipart/form-data; x=y"},
        ),
        (415, "'application/xml'", "", {"content-type": "application/xml"}),
        (415, "'gzip'", "", {"content-encoding": "gzip"}),
        (400, "not from the address", "?target=fr", {}),
    ],
)
def test_parts_of_a_request_that_would_be_ignored_are_refused(
    server: Server, status: int, message: str, address: str, headers: dict[str, str]
) -> None:
    path = f"/translate{address}"
    got, answer = server.ask("POST", path, JSON_BODY, headers)
    assert got == status
    assert message in answer["error"]
    # Who declares nothing, or plain text as browsers do, sends JSON.
    for declared in ({}, {"content-type": "text/plain;charset=UTF-8"}):
        assert server.ask("POST", "/translate", JSON_BODY, declared)[0] == 200


def test_other_paths_methods_and_hosts(server: Server) -> None:
    assert server.ask("GET", "/nothing") == (404, {"error": "Not Found"})
    assert server.ask("GET", "/../../etc/passwd")[0] == 404
    assert server.ask("GET", "/translate") == (405, {"error": "Method Not Allowed"})
    for host in ("evil.example", "localhost.evil.example", ""):
        assert server.ask("GET", "/health", headers={"Host": host})[0] == 400
    for host in ("localhost", f"127.0.0.1:{server.port}", "[::1]:80"):
        assert server.ask("GET", "/health", headers={"Host": host})[0] == 200
    assert server.ask("POST", "/translate", "q=%ff", FORM)[0] == 400


def raw(server: Server, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(sent)
        return connection.recv(65536)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(server: Server) -> None:
    head = b"POST /translate HTTP/1.1\r\nHost: localhost\r\n"
    # Nothing of the body is sent, and the answer comes all the same.
    assert b" 413 " in raw(server, head + b"Content-Length: 999999999999999999\r\n\r\n")
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    assert b" 413 " in raw(
        server, head + b"Transfer-Encoding: chunked\r\n\r\n" + 2 * chunk
    )
    assert b" 400 " in raw(server, b"\x16\x03\x01 what is this?\r\n\r\n")
    assert b" 400 " in raw(server, head + b"Content-Length: -1\r\n\r\n")
    assert server.ask("GET", "/health")[0] == 200


def test_requests_at_the_same_time_share_batches_and_keep_their_answers(
    server: Server,
) -> None:
    alone = {
        line: server.translate(q=line, source="en", target="de")[1]["translatedText"]
        for line in set(LINES)
    }
    asked = [{"q": line, "source": "en", "target": "de"} for line in LINES * 4]
    batches = server.metric("masscli_batches_total")
    answers = server.translate_all(asked, threads=40)
    assert answers == [
        (200, {"translatedText": alone[fields["q"]]}) for fields in asked
    ]
    assert server.metric("masscli_batches_total") - batches < len(asked) / 2


def test_a_full_queue_and_a_late_answer_are_refused(
    runs: Path, preloaded: Preloaded
) -> None:
    asked = [{"q": LINES * 4, "source": "en", "target": "de"}] * 24
    with Server(
        runs / "ende",
        "--max-queue",
        2,
        "--batch-characters",
        10,
        program=preloaded.program,
    ) as small:
        answers = small.translate_all(asked, threads=24)
        statuses = [answer[0] for answer in answers if not isinstance(answer, OSError)]
        assert len(statuses) == len(asked)
        assert set(statuses) == {200, 429}
        assert small.translate(q="ba")[0] == 200
    with Server(
        runs / "ende",
        "--request-seconds",
        "0.001",
        "--beam",
        5,
        program=preloaded.program,
    ) as impatient:
        assert impatient.translate(q=LINES * 4) == (
            504,
            {"error": "not done within 0.001 seconds"},
        )
        assert impatient.ask("GET", "/health")[0] == 200


def test_sighup_reloads_the_models(
    runs: Path, tmp_path: Path, preloaded: Preloaded
) -> None:
    shutil.copytree(runs / "both", tmp_path / "run", symlinks=True)
    with Server(tmp_path / "run", program=preloaded.program) as running:
        before = running.translate(q=LINES[:9], source="en", target="de")
        # The model is replaced by another one, as training into its folder does.
        for link in ("best", "last"):
            (tmp_path / "run/checkpoints" / link).unlink(missing_ok=True)
        shutil.copytree(
            runs / "ende/checkpoints/best", tmp_path / "run/checkpoints/best"
        )
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("the models were read again")
        after = running.translate(q=LINES[:9], source="en", target="de")
        assert before != after
        assert running.translate(q="ba", source="de", target="en")[0] == 400
        # A damaged one is not taken.
        (tmp_path / "run/checkpoints/best/model.safetensors").write_bytes(b"nothing")
        running.process.send_signal(signal.SIGHUP)
        assert "the models that were there stay" in running.wait_for("error: ")
        assert running.translate(q=LINES[:9], source="en", target="de") == after


def test_a_stop_in_the_middle_answers_or_refuses_every_request(
    runs: Path, preloaded: Preloaded
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    asked = [{"q": LINES, "source": "en", "target": "de"}] * 40
    with Server(
        runs / "ende",
        "--batch-characters",
        10,
        "--stop-seconds",
        "0.2",
        program=preloaded.program,
    ) as running:
        expected = running.translate(**asked[0])
        with ThreadPoolExecutor(1) as pool:
            answers = pool.submit(running.translate_all, asked, 20)
            while running.metric("masscli_batches_total") < 4:
                pass
            assert running.stop() == 0
            results = answers.result(timeout=60)
    complete = [result for result in results if result == expected]
    refused = [
        result
        for result in results
        if isinstance(result, OSError) or result[0] in (429, 503)
    ]
    assert complete
    assert refused
    assert len(complete) + len(refused) == len(asked)


def test_a_server_whose_messages_nobody_reads_still_answers_and_stops(
    runs: Path, preloaded: Preloaded
) -> None:
    command = [
        preloaded.program,
        *f"serve --port 0 --precision fp32 {runs}/ende".split(),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        while not (
            match := re.search(
                r"serving on http://127.0.0.1:(\d+)", process.stderr.readline()
            )
        ):
            assert process.poll() is None
        process.stderr.close()
        process.send_signal(signal.SIGHUP)
        with socket.create_connection(
            ("127.0.0.1", int(match[1])), timeout=30
        ) as connection:
            connection.sendall(
                b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert b" 200 " in connection.recv(1000)
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()


def test_models_that_cannot_be_served_are_refused_at_once(
    runs: Path, toy: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MasscliError, match=rf"--port {port}: cannot be used"):
            dispatch(["serve", str(runs / "ende"), "--port", str(port)])
    streams = {"mass": {"dataset": "en", "objective": {"name": "mass"}}}
    list(
        masscli.pretrain(
            recipe(toy, tmp_path / "mass", "train.max_update=1", streams=streams)
        )
    )
    with pytest.raises(MasscliError, match="was not trained to translate"):
        dispatch(["serve", str(tmp_path / "mass"), "--port", "0"])
    with pytest.raises(
        MasscliError, match=r"--allowed-hosts: expected names, \*\.NAME or \*"
    ):
        dispatch(["serve", str(runs / "ende"), "--allowed-hosts", "a.*.example"])
    with pytest.raises(MasscliError, match="--prefix-size"):
        dispatch(["serve", str(runs / "ende"), "--prefix-size", "2"])


def test_a_port_that_is_taken_while_models_are_read_is_refused(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        def load_slowly(*args: object, **options: object) -> object:
            other.listen()
            return masscli.load(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr("masscli.serving.models.load", load_slowly)
        with pytest.raises(MasscliError, match=rf"--port {port}: cannot be used"):
            dispatch(["serve", str(runs / "ende"), "--port", str(port)])


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("", "--host: must not be empty"),
        ("192.0.2.1", "--host 192.0.2.1: is not an address of this machine"),
        ("ä..b", "--host ä..b: is not an address of this machine"),
        ("[::1]", r"--host \[::1\]: is not an address of this machine"),
    ],
)
def test_hosts_that_are_not_addresses_of_this_machine(host: str, message: str) -> None:
    with pytest.raises(MasscliError, match=message):
        dispatch(["serve", "nowhere", "--port", "0", "--host", host])


def test_a_client_that_sends_slowly_does_not_keep_a_server_from_stopping(
    runs: Path, preloaded: Preloaded
) -> None:
    with (
        Server(
            runs / "ende", "--stop-seconds", "0.1", program=preloaded.program
        ) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection,
    ):
        connection.sendall(
            b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"
            b'Expect: 100-continue\r\n\r\n{"q":'
        )
        # The server has begun to read the body.
        assert b" 100 " in connection.recv(1000)
        began = time.monotonic()
        assert running.stop() == 0
        # By default a request has 60 seconds.
        assert time.monotonic() - began < 30
        assert b" 503 " in connection.recv(10000)
