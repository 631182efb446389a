"""How good a dictionary is:  python tests/benchmarks/dictionary.py FOUND GOLD TEXT

FOUND and GOLD are files of `masscli dictionary`, GOLD one made from many aligned pairs. Words of GOLD are sorted by how often they occur in
TEXT (tokens between spaces, lower-cased). For N = 100, 200, 500 and 1,000 this prints

- right of those found: of the first N words that FOUND has as well, the share whose translation in FOUND is one of GOLD's
- right of all: the same share of the first N words, where a word that FOUND lacks counts as wrong
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path


def read(path: Path) -> dict[str, set[str]]:
    """Return the translations of each word in the file of a dictionary."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in path.read_text(encoding="utf-8").splitlines():
        a, b = line.split()[:2]
        found[a].add(b)
    return found


def main() -> None:
    """Print how many words the dictionaries share, and how many of them are right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("found", "gold", "text"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    found, gold = read(args.found), read(args.gold)
    counts = Counter(
        args.text.read_text(encoding="utf-8")
        .lower()
        .replace(".", " . ")
        .replace(",", " , ")
        .split()
    )
    common = [word for word, _ in counts.most_common() if word in gold]
    both = [word for word in common if word in found]
    print(f"{len(both)} of {len(common)} words")
    print("words   right of those found   right of all")
    for most in (100, 200, 500, 1000):
        known, every = both[:most], common[:most]
        right = [
            sum(bool(found[word] & gold[word]) for word in words if word in found)
            for words in (known, every)
        ]
        print(
            f"{most:5}   {right[0] / len(known):20.1%}   {right[1] / len(every):12.1%}"
        )


if __name__ == "__main__":
    main()
