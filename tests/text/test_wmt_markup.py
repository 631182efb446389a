"""Test sets of WMT, as they are distributed, are the lines that their segments hold."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from masscli.__main__ import run as masscli
from masscli.core.errors import MasscliError
from masscli.text.corpus import iter_lines, scan_file
from masscli.text.wmt_markup import read_test_set, source_lines, translation_lines
from tests.commands import succeed

SGML = """<refset setid="newstest2014" srclang="any" trglang="de">
<DOC docid="a" sysid=ref>
<p>
<seg id="1">Peter &amp; Paul, &quot;hier&quot;</seg>
<seg id="2"> zwei
Zeilen </seg>
</p>
</DOC>
<doc sysid="ref" docid="b"><hl><seg id="1"></seg></hl></doc>
</refset>
"""
XML = """<?xml version='1.0' encoding='utf-8'?>
<dataset id="newstest2021.en-de"><doc origlang="en" id="x">
<src lang="en"><p><seg id="1">One</seg><seg id="2">Two</seg></p></src>
<ref lang="de" translator="A"><p><seg id="1">Eins &lt;1&gt;</seg><seg id="2">Zwei</seg></p></ref>
<ref lang="de" translator="C"><p><seg id="1">Ein</seg><seg id="2"/></p></ref>
</doc><doc origlang="en" id="y">
<src lang="en"><p><seg id="1">Three</seg></p></src>
<ref lang="de" translator="A"><p><seg id="1">Drei</seg></p></ref>
<ref lang="de" translator="C"><p><seg id="1">Drei!</seg></p></ref>
</doc></dataset>
"""


def test_segments_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "newstest2014-ref.de.sgm.gz"
    path.write_bytes(gzip.compress(SGML.encode()))
    assert read_test_set(path) == {"ref": ['Peter & Paul, "hier"', "zwei Zeilen", ""]}
    path = tmp_path / "newstest2021.en-de.xml"
    path.write_text(XML)
    assert read_test_set(path) == {
        "A": ["Eins <1>", "Zwei", "Drei"],
        "C": ["Ein", "", "Drei!"],
    }


def test_every_translation_is_a_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The score is the same as with the references as plain lines."""
    test_set, output = tmp_path / "x.xml", tmp_path / "hyp"
    test_set.write_text(XML)
    output.write_text("Eins 1\nZwei\nDrei!\n")
    (tmp_path / "a").write_text("Eins <1>\nZwei\nDrei\n")
    (tmp_path / "c").write_text("Ein\n\nDrei!\n")
    scores = []
    for references in (["x.xml"], ["a", "c"]):
        options = [f"--ref={tmp_path / name}" for name in references]
        succeed(["score", str(output), *options, "--metric", "chrf,ter"])
        scores.append(capsys.readouterr().out)
    assert scores[0] == scores[1]
    assert "nrefs:2" in scores[0]
    # Of outputs it must be clear which are meant.
    assert masscli(["score", str(test_set), "--ref", str(tmp_path / "a")]) == 2
    assert "x.xml: has translations of several systems: A, C" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plain text\n", "has no segment of a translation"),
        (XML.replace('<seg id="2"/>', ""), "3 of 'A', 2 of 'C'"),
    ],
)
def test_files_that_are_not_test_sets_are_named(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(MasscliError, match=message) as caught:
        read_test_set(path)
    assert caught.value.message.startswith(f"{path}: ")


def test_sources_are_those_of_a_test_set(tmp_path: Path) -> None:
    path = tmp_path / "newstest2021.en-de.xml"
    path.write_text(XML)
    assert list(source_lines(path)) == ["One", "Two", "Three"]
    with pytest.raises(MasscliError, match="several systems: A, C"):
        translation_lines(path)
    # A file of SGML has one text, which may be translated into the other direction, too.
    path = tmp_path / "newstest2014-ref.de.SGM"
    path.write_text(SGML)
    expected = ['Peter & Paul, "hier"', "zwei Zeilen", ""]
    assert list(source_lines(path)) == list(translation_lines(path)) == expected
    path.write_text(
        '<srcset setid="x"><doc docid="a"><seg id="1"> a </seg></doc></srcset>'
    )
    assert list(source_lines(path)) == ["a"]
    path.write_text("plain text\n")
    with pytest.raises(MasscliError, match=r"newstest2014-ref.de.SGM: has no segments"):
        source_lines(path)
    lines = tmp_path / "lines"
    lines.write_text("<seg>a</seg>\n")
    assert (
        list(source_lines(lines)) == list(translation_lines(lines)) == ["<seg>a</seg>"]
    )


def test_markup_is_never_read_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "news.xml.gz"
    path.write_bytes(gzip.compress(XML.encode()))
    for read in (lambda: list(iter_lines(path)), lambda: scan_file(path)):
        with pytest.raises(
            MasscliError, match=r"news.xml.gz: .xml is markup and not lines of text"
        ):
            read()


def test_compare_reads_test_sets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report is the same as for plain lines."""
    files = {
        "in.xml": XML,
        "in": "One\nTwo\nThree\n",
        "ref.sgm": SGML,
        "ref": 'Peter & Paul, "hier"\nzwei Zeilen\n\n',
        "old": "Peter\nzwei\ndrei\n",
        "new": "Paul\nzwei Zeilen\ndrei\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    reports = []
    for source, reference in (("in.xml", "ref.sgm"), ("in", "ref")):
        command = ["compare", "old", "new", "--input", source, "--ref", reference]
        paths = [str(tmp_path / word) if word in files else word for word in command]
        succeed(paths)
        reports.append(capsys.readouterr().out)
    assert reports[0] == reports[1]
