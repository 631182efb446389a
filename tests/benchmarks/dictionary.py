"""How good a dictionary is:  python tests/benchmarks/dictionary.py FOUND GOLD TEXT

FOUND and GOLD are files of `masscli dictionary`, GOLD one of many pairs.  Words of FOUND that GOLD knows are ordered by how often they
occur in TEXT (tokens between spaces, lower-cased); printed is the share of the first 100, 200, ... whose translation is one of GOLD's, and
the share of those commonest words of GOLD that FOUND has right at all.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path


def read(path: Path) -> dict[str, set[str]]:
    """The translations of each word."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in path.read_text(encoding="utf-8").splitlines():
        a, b = line.split()[:2]
        found[a].add(b)
    return found


def main() -> None:
    """Read, compare, print."""
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
