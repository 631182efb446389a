"""Training text that is already split into pieces is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.data.prepare.split_text import split_text_warnings
from masscli.text.corpus import scan_file
from masscli.text.dictionary_model import pack_dictionary
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}


@pytest.mark.parametrize(
    ("line", "piece", "command"),
    [
        ("Zwei j@@ un@@ ge Männer .", "j@@", "sed 's/@@ //g'"),
        ("zwei jun ##ge männer .", "##ge", "sed 's/ ##//g'"),
        ("▁Zwei ▁jun ge ▁Männer .", "▁Zwei", "sed 's/ //g; s/▁/ /g'"),
    ],
)
def test_text_in_pieces_is_noticed(
    line: str, piece: str, command: str, tmp_path: Path
) -> None:
    # A line without a word that was split.
    (tmp_path / "a.de").write_text(f"{line}\n{line}\nJa !\n", encoding="utf-8")
    (tmp_path / "a.en").write_text("Two ## young men @@ .\n# ##\n", encoding="utf-8")
    files = {name: [scan_file(tmp_path / f"a.{name}")] for name in ("en", "de")} | {
        "fr": []
    }
    assert split_text_warnings(files, None) == [
        f"{tmp_path}/a.de: 2 of 3 sampled lines have pieces of words, such as {piece!r}, which are split again: "
        f"give whole words ({command})"
    ]


def test_a_vocabulary_for_split_text_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_text("Zwei j@@ un@@ ge Männer .\n", encoding="utf-8")
    files = {"de": [scan_file(tmp_path / "a.de")]}

    def dictionary(merges: list[str] | None) -> Tokenizer:
        # A word that it lacks is one piece, too.
        data = pack_dictionary([*SPECIAL, "Zwei", "j@@", "un@@", "ge"], SPECIAL, merges)
        return Tokenizer.from_bytes(
            tmp_path / "dict.txt", data, TextPreprocessing(), ("de",)
        )

    assert split_text_warnings(files, dictionary(None)) == []
    assert len(split_text_warnings(files, dictionary(["g e</w>"]))) == 1
