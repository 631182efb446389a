"""`masscli serve` under load: 1,000 requests at once, 10,000 malformed ones, too much work, a stop in the middle.

    python -m tests.benchmarks.serve_load RUN SOURCES [--requests 1000] [--rounds 5] [--malformed 10000]

RUN translates in one direction, and SOURCES has lines of text. Every answer is compared with what the Python API gives; nothing may be
lost, mixed up or half-answered, and memory must not grow from round to round. Ends with status 1 if anything of this fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import masscli
from masscli.api.text_translation import TextTranslator
from masscli.generation.config import GenerationConfig
from tests.serving.client import Server

SECONDS = 600
"""Time limit of a request. The load is meant to be more than the machine can do at once."""
Answer = bytes | str
"""The whole answer, or why there is none."""


async def send(port: int, data: bytes, gate: asyncio.Event | None = None) -> Answer:
    """Send bytes on a connection of their own, and return all that comes back until it is closed."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # All connections are there before the first one is used.
        if gate is not None:
            await gate.wait()
        writer.write(data)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), SECONDS)
        writer.close()
    except TimeoutError:
        return f"no answer in {SECONDS} s"
    except OSError as error:
        return type(error).__name__
    return answer or "closed without an answer"


def http(fields: object) -> bytes:
    body = json.dumps(fields).encode()
    head = f"POST /translate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def parse(answer: Answer) -> tuple[str, str]:
    """Return the status of an answer, and its translation or error; what is cut short has the status `half`."""
    if isinstance(answer, str):
        return "refused", answer
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    lengths = [
        int(line.partition(":")[2])
        for line in lines
        if line.lower().startswith("content-length:")
    ]
    if not lengths or len(body) != lengths[0]:
        return "half", answer.decode(errors="replace")
    content = json.loads(body) if body.startswith(b"{") else {"error": body.decode()}
    return lines[0].split()[1], content.get("translatedText", content.get("error"))


async def at_once(
    port: int, requests: list[bytes], after: object = None
) -> list[tuple[str, str]]:
    gate = asyncio.Event()
    tasks = [asyncio.create_task(send(port, request, gate)) for request in requests]
    await asyncio.sleep(1)
    gate.set()
    if callable(after):
        await after()
    return [parse(answer) for answer in await asyncio.gather(*tasks)]


async def seconds_by_status(port: int, requests: list[bytes]) -> dict[str, list[float]]:
    """Send requests at once; return the seconds from each request to its answer, by status."""
    seconds: dict[str, list[float]] = {}

    async def one(request: bytes) -> None:
        started = time.monotonic()
        status, _ = parse(await send(port, request))
        seconds.setdefault(status, []).append(time.monotonic() - started)

    await asyncio.gather(*map(one, requests))
    return seconds


def damage(request: bytes, draw: random.Random) -> tuple[bytes, bool]:
    """Return a request that is damaged anywhere, or in its body alone, and whether its length is told as it is."""
    if draw.random() < 0.5:
        return mutate(request, draw), False
    body = mutate(request.partition(b"\r\n\r\n")[2], draw)
    head = f"POST /translate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body, True


def mutate(request: bytes, draw: random.Random) -> bytes:
    """Return bytes that are damaged: changed, removed, repeated or inserted, or cut short."""
    data = bytearray(request)
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(5)
        if kind == 0 and at < len(data):
            data[at] = draw.randrange(256)
        elif kind == 1:
            del data[at : at + draw.randint(1, 20)]
        elif kind == 2:
            data[at:at] = data[at : at + draw.randint(1, 40)]
        elif kind == 3:
            data[at:at] = draw.randbytes(draw.randint(1, 40))
        else:
            data[at:at] = draw.choice(
                [
                    b"\r\n",
                    b"\0",
                    b"[" * 500,
                    b'"',
                    b"{",
                    b"\\ud800",
                    b"9" * 30,
                    b"%00",
                    b"Transfer-Encoding: chunked\r\n",
                ]
            )
    if draw.random() < 0.2:
        del data[draw.randrange(len(data) + 1) :]
    return bytes(data)


async def malformed(port: int, valid: list[bytes], count: int) -> Counter[str]:
    """Send damaged requests, 100 at a time; half of a request is ended by closing the connection."""
    draw = random.Random(7)
    statuses: Counter[str] = Counter()
    slots = asyncio.Semaphore(100)

    async def one(data: bytes, is_whole: bool) -> None:
        async with slots:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(data)
                # Of a part the server would wait for the rest.
                if not is_whole:
                    writer.write_eof()
                answer = await asyncio.wait_for(reader.read(), SECONDS)
                writer.close()
            except (OSError, TimeoutError) as error:
                statuses[type(error).__name__] += 1
                return
            statuses[answer[9:12].decode(errors="replace") if answer else "closed"] += 1

    await asyncio.gather(
        *(one(*damage(draw.choice(valid), draw)) for _ in range(count))
    )
    return statuses


def count_wrong(answers: list[tuple[str, str]], expected: list[str]) -> int:
    """Return how many answers are not those of the Python API, and print why."""
    wrong = [
        answer
        for answer, text in zip(answers, expected, strict=True)
        if answer != ("200", text)
    ]
    if wrong:
        print(Counter(status for status, _ in wrong), wrong[0])
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="de")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--malformed", type=int, default=10_000)
    options = parser.parse_args()
    languages = (options.source, options.target)
    lines = options.sources.read_text(encoding="utf-8").split("\n")[:-1]
    # Numbers make texts differ, so that an answer to another request is noticed.
    texts = [
        f"{lines[number % len(lines)]} {number // len(lines)}"
        for number in range(options.requests)
    ]
    model = masscli.load(options.run, device="cpu", precision="fp32").text_model(
        None, *languages
    )
    expected = [
        translated.text
        for translated in TextTranslator(model, GenerationConfig()).translate(texts)
    ]
    del model
    requests = [
        http({"q": text, "source": languages[0], "target": languages[1]})
        for text in texts
    ]
    failures = 0

    with Server(options.run, "--request-seconds", SECONDS) as server:
        for number in range(options.rounds):
            batches, started = server.metric("masscli_batches_total"), time.monotonic()
            answers = asyncio.run(at_once(server.port, requests))
            seconds = time.monotonic() - started - 1
            wrong = count_wrong(answers, expected)
            failures += wrong
            batches = server.metric("masscli_batches_total") - batches
            print(
                f"round {number + 1}: {len(answers)} requests at once in {seconds:.1f} s, {wrong} lost or wrong, "
                f"{batches:.0f} batches, {server.memory():.0f} MiB",
                flush=True,
            )
        statuses = asyncio.run(malformed(server.port, requests, options.malformed))
        bad = sum(
            count
            for status, count in statuses.items()
            if status.startswith("5") or "Timeout" in status
        )
        failures += bad
        print(
            f"{options.malformed} malformed: {dict(statuses.most_common())}, {server.memory():.0f} MiB",
            flush=True,
        )
        answers = asyncio.run(at_once(server.port, requests))
        wrong = count_wrong(answers, expected)
        failures += wrong
        print(
            f"afterwards: {wrong} of {len(answers)} lost or wrong, {server.memory():.0f} MiB",
            flush=True,
        )

    # A time limit of a third of what all of them take: what comes too late must be known early.
    limit = round(seconds / 3, 1)
    with Server(
        options.run, "--batch-characters", 500, "--request-seconds", limit
    ) as server:
        waited = asyncio.run(seconds_by_status(server.port, requests))
        failures += sum(
            len(times)
            for status, times in waited.items()
            if status not in ("200", "429", "504")
        )
        for status, times in sorted(waited.items()):
            middle = statistics.median(times)
            print(
                f"time limit of {limit} s: {len(times)} times {status}, after {middle:.1f} s (median)",
                flush=True,
            )

    with Server(options.run, "--batch-characters", 500, "--stop-seconds", 1) as server:

        async def stop() -> None:
            await asyncio.sleep(1)
            server.process.send_signal(signal.SIGTERM)

        answers = asyncio.run(at_once(server.port, requests, stop))
        counted: Counter[str] = Counter()
        for (status, text), right in zip(answers, expected, strict=True):
            counted[status if status != "200" or text == right else "wrong"] += 1
        # Before the stop, 429 refuses what could not be translated in time; after it, 503 refuses the rest.
        answered = ("200", "429", "503", "refused")
        failures += sum(
            count for status, count in counted.items() if status not in answered
        )
        status = server.process.wait(timeout=60)
        failures += status != 0
        print(
            f"stopped in the middle: {dict(counted)}, exit status {status}", flush=True
        )
    print("all is well" if not failures else f"{failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
