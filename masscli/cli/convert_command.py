"""Convert a command line of another toolkit to masscli.

The programs are fairseq-preprocess, fairseq-train, fairseq-generate, fairseq-interactive, train.py of
XLM and MASS, and Hugging Face's run_translation.py. Give the command line as one quoted argument; -
reads it from standard input. It may contain line continuations (a backslash at the end), comments and
shell variables; those that it sets itself (LR=5e-4) are replaced by their values. The masscli command is
printed to standard output, and flags without an equivalent are listed on standard error. Where defaults
differ, those of the other program are written out.

Examples:
  masscli convert-command 'fairseq-train data-bin/ende --arch transformer --max-tokens 4096 --lr 5e-4'
  masscli convert-command - < train.sh
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from masscli.text.corpus import read_text


def run(
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND", help="The command line in quotes; - is standard input."
        ),
    ],
) -> None:
    """Print the converted command on standard output, and remarks on standard error."""
    from masscli.cli.foreign.command_line import parse_foreign
    from masscli.cli.foreign.conversion import format_command
    from masscli.cli.foreign.convert import convert

    text = " ".join(command)
    if command == ["-"]:
        text = read_text(Path("-"))
    conversion = convert(parse_foreign(text))
    print(format_command(conversion.words()))
    for remark in conversion.remarks:
        print(f"note: {remark}", file=sys.stderr)
    if conversion.always:
        print(f"note: not needed here: {', '.join(conversion.always)}", file=sys.stderr)
