"""Moses rules are those of Moses' own scripts, and text comes back from tokenization as it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from masscli.text.moses import detokenize, detokenize_wordpiece, normalize, tokenize
from masscli.text.preprocessing import TextPreprocessing


@pytest.mark.parametrize(
    ("language", "line", "tokens"),
    [
        # The last full stop is split from any word, as it ends the sentence.
        ("en", "We met at 4 p.m.", "We met at 4 p.m ."),
        ("en", "It is made by Example Corp.", "It is made by Example Corp ."),
        ("de", "Heute ist der 18.", "Heute ist der 18 ."),
        ("fr", "C'est M.", "C' est M ."),
        # Elsewhere abbreviations keep theirs.
        (
            "en",
            "Mr. Smith met Dr. Who at 4 p.m. on Monday.",
            "Mr. Smith met Dr. Who at 4 p.m. on Monday .",
        ),
        ("en", "So he waited...", "So he waited ..."),
        ("en", "A full stop .", "A full stop ."),
    ],
)
def test_the_last_full_stop(language: str, line: str, tokens: str) -> None:
    assert tokenize(line, language) == tokens


@pytest.mark.parametrize(
    ("language", "line", "expected"),
    [
        # Perl reads the line with its end, which is the character that the rule needs behind the mark.
        ("de", 'Er sagt: "Ja."', 'Er sagt: "Ja".'),
        ("de", "Er sagt: „Ja.“", 'Er sagt: "Ja".'),
        ("fr", 'Il dit "oui".', 'Il dit "oui".'),
        ("en", 'He says "yes".', 'He says "yes."'),
        # Languages without rules of their own have those of German; Czech has none.
        ("ro", 'El spune "da," apoi pleacă.', 'El spune "da", apoi pleacă.'),
        ("ro", 'El spune "da."', 'El spune "da".'),
        ("cs", 'Říká "ano."', 'Říká "ano."'),
    ],
)
def test_quotation_marks_beside_full_stops(
    language: str, line: str, expected: str
) -> None:
    assert normalize(line, language) == expected


ROUND_TRIPS = {
    "en": [
        "At 10:30 it cost $5.", "It\u2019s O\u2019Neill\u2019s and they\u2019re gone.", "and/or 24/7", "issue #151 is closed",
        "AT&T and S&P", "write to a.name@example.org now", "Example Corp.'s plan", "\u201cYes,\u201d she said.", "He waited\u2026",
    ],
    "de": [
        "Das kostet 3,50 € am Tag.", "Um 10:30 Uhr.", "»Ja«, sagte er, »komm!«", "„Ja“, sagte er.", "Wie geht's?",
    ],
    "fr": ["C\u2019est l\u2019eau d\u2019hier.", "C'est l'eau.", "Il attend\u2026", "« Oui », dit-il.", "Il est 10:30."],
    "it": ["L\u2019acqua è «buona»."],
    "ro": ["El spune „da” și pleacă.", "La ora 6:30."],
}  # fmt: skip


@pytest.mark.parametrize(
    ("language", "line"),
    [(language, line) for language, lines in ROUND_TRIPS.items() for line in lines],
)
def test_text_survives_tokenization_and_detokenization(
    language: str, line: str
) -> None:
    assert detokenize(tokenize(line, language), language) == line


@pytest.mark.parametrize(
    "line", ["the dogs \u2019 tails", "5 @ home", "a & b", "one: 3 of them"]
)
def test_marks_between_words_keep_their_spaces(line: str) -> None:
    assert detokenize(tokenize(line, "en"), "en") == line


@pytest.mark.parametrize(
    ("language", "tokens", "text"),
    [
        ("en", "it ' s an e - mail , is n ' t it ?", "it's an e-mail, is n't it?"),
        (
            "en",
            "they paid $ 1 , 000 . 50 ( in cash ) .",
            "they paid $1,000.50 (in cash).",
        ),
        ("en", 'he said : " yes " .', 'he said: "yes".'),
        ("fr", "l ' eau qu ' il boit .", "l'eau qu'il boit."),
        ("de", "die u - bahn um 10 : 30 uhr", "die u-bahn um 10:30 uhr"),
    ],
)
def test_wordpiece_is_detokenized(language: str, tokens: str, text: str) -> None:
    assert detokenize_wordpiece(tokens, language) == text


LINES = {
    "en": ["At 4 p.m.", 'He said "no".', "Mr. A. met Corp.", "It's 'so'.", "x... y.", "a,b,c", "Page No. 5.", "'90s."],
    "de": ['Er sagt "nein."', "Am 18.", "z. B. so.", "»Ja.«", 'a," b', "5 %."],
    "fr": ["M.", "L'eau, c'est.", "« Oui. »", 'Il dit "oui."'],
    "ro": ['Zice "da," apoi.', 'Zice "da."', "D.C."],
    "cs": ['Říká "ano."'],
}  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("language", LINES)
def test_the_rules_are_those_of_the_scripts(language: str, normalized: bool) -> None:
    """MASSCLI_MOSES names a checkout of mosesdecoder."""
    if "MASSCLI_MOSES" not in os.environ:
        pytest.skip("MASSCLI_MOSES does not name a checkout of mosesdecoder")
    scripts = Path(os.environ["MASSCLI_MOSES"]) / "scripts/tokenizer"
    command = f"perl {scripts}/tokenizer.perl -l {language} -no-escape -q"
    if normalized:
        steps = (
            "replace-unicode-punctuation.perl",
            f"normalize-punctuation.perl -l {language}",
        )
        command = " | ".join(
            [
                *(
                    f"perl {scripts}/{step}"
                    for step in (*steps, "remove-non-printing-char.perl")
                ),
                command,
            ]
        )
    lines = LINES[language]
    text = "".join(f"{line}\n" for line in lines)
    result = subprocess.run(
        ["bash", "-c", command], input=text, capture_output=True, text=True, check=True
    )
    ours = TextPreprocessing(normalize=normalized, moses=True).apply(lines, language)
    assert [line.split() for line in ours] == [
        line.split() for line in result.stdout.splitlines()
    ]
