"""Translate one text with a run, with its two exports, and with --backend ctranslate2: equal files, and the time of each.

    python -m tests.benchmarks.exported_translator RUN -s en -t de --input test.en [--reference test.de] [--beam 5]

The exports are used as a stranger uses them: `transformers` and `ctranslate2` alone, without masscli. Both have to be installed.
CTranslate2 and masscli compute on as many threads as OMP_NUM_THREADS says. All outputs have at most 200 pieces: programs differ in what they
do at the limit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRANSFORMERS = """
import sys
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
folder, source, output, beam = sys.argv[1:]
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
lines = open(source, encoding="utf-8", newline="\\n").read().splitlines()
order = sorted(range(len(lines)), key=lambda i: len(lines[i]))
texts = {}
for first in range(0, len(order), 50):
    numbers = order[first : first + 50]
    batch = tokenizer([lines[i] for i in numbers], return_tensors="pt", padding=True, return_token_type_ids=False)
    outputs = tokenizer.batch_decode(model.generate(**batch, num_beams=int(beam), max_length=202), skip_special_tokens=True)
    texts |= dict(zip(numbers, outputs))
open(output, "w", encoding="utf-8").write("".join(texts[i] + "\\n" for i in range(len(lines))))
"""
CTRANSLATE2 = """
import os, sys
import ctranslate2, sentencepiece
folder, pieces, source, output, beam, kind = sys.argv[1:]
pieces = sentencepiece.SentencePieceProcessor(model_file=pieces)
translator = ctranslate2.Translator(folder, compute_type=kind, intra_threads=int(os.environ.get("OMP_NUM_THREADS", 0)))
lines = open(source, encoding="utf-8", newline="\\n").read().splitlines()
results = translator.translate_batch(
    pieces.encode(lines, out_type=str), beam_size=int(beam), max_batch_size=1600, batch_type="tokens", max_input_length=0,
    max_decoding_length=200)
open(output, "w", encoding="utf-8").write("".join(pieces.decode(result.hypotheses[0]) + "\\n" for result in results))
"""
MASSCLI = [sys.executable, "-m", "masscli"]


def timed(name: str, command: list[str], output: Path) -> bytes:
    """Run a command, print how long it took with loading, and return the file that it wrote."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"{name:28} {time.perf_counter() - start:7.1f} s", flush=True)
    return output.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("-s", default="en")
    parser.add_argument("-t", default="de")
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--beam", default="5")
    options = parser.parse_args()
    source = str(options.input)
    direction = ["-s", options.s, "-t", options.t]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for to, precision in (
            ("huggingface", "fp32"),
            ("ctranslate2", "fp32"),
            ("ctranslate2", "int8"),
        ):
            extra = ["--precision", precision] if to == "ctranslate2" else []
            output = str(folder / f"{to}-{precision}")
            subprocess.run(
                [
                    *MASSCLI,
                    "export",
                    str(options.run),
                    "--to",
                    to,
                    *direction,
                    *extra,
                    "--output",
                    output,
                ],
                check=True,
            )
        from masscli.checkpoint.checkpoint import Checkpoint

        pieces = str(Checkpoint.open(options.run).path / "vocab.model")

        def file(name: str) -> Path:
            return folder / f"{name}.txt"

        generate = [
            *MASSCLI,
            "generate",
            str(options.run),
            *direction,
            "--input",
            source,
            "--beam",
            options.beam,
            "--early-stop",
            *("--max-len-a", "0", "--max-len-b", "200"),
        ]
        texts = {}
        for name, more in (
            ("masscli", ["--precision", "fp32"]),
            (
                "masscli --backend, first",
                ["--backend", "ctranslate2", "--precision", "fp32"],
            ),
            (
                "masscli --backend, again",
                ["--backend", "ctranslate2", "--precision", "fp32"],
            ),
            (
                "masscli --backend, int8",
                ["--backend", "ctranslate2", "--precision", "int8"],
            ),
        ):
            texts[name] = timed(
                name, [*generate, *more, "--output", str(file(name))], file(name)
            )
        for kind, name in (
            ("fp32", "CTranslate2 alone"),
            ("int8", "CTranslate2 alone, int8"),
        ):
            compute_type = {"fp32": "float32", "int8": "int8"}[kind]
            arguments = [
                str(folder / f"ctranslate2-{kind}"),
                pieces,
                source,
                str(file(name)),
                options.beam,
                compute_type,
            ]
            texts[name] = timed(
                name, [sys.executable, "-c", CTRANSLATE2, *arguments], file(name)
            )
        arguments = [
            str(folder / "huggingface-fp32"),
            source,
            str(file("transformers")),
            options.beam,
        ]
        texts["transformers"] = timed(
            "transformers alone",
            [sys.executable, "-c", TRANSFORMERS, *arguments],
            file("transformers"),
        )

        ours = texts["masscli"].splitlines()
        for name, text in texts.items():
            lines = text.splitlines()
            same = sum(one == other for one, other in zip(ours, lines, strict=True))
            print(f"{name:28} {same} of {len(ours)} lines equal those of masscli")
            if options.reference is not None:
                file("scored").write_bytes(text)
                subprocess.run(
                    [
                        *MASSCLI,
                        "score",
                        str(file("scored")),
                        "--ref",
                        str(options.reference),
                        "--metric",
                        "bleu",
                    ],
                    check=True,
                )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
