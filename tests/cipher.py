"""Two toy languages that a cipher and a local reordering turn into each other, and nothing else connects but shared anchors.

A sentence is a walk over words: each has four successors of its own, skewed as 8:4:2:1, so that words differ by company and by frequency.
A fifth of the tokens are anchors, names, numbers and the full stop, which both languages spell alike.  Language `aa` says adjectives before
their noun, `bb` after it; every other word has another spelling.  The map goes both ways without a choice, so that a perfect translation is
BLEU 100.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

ANCHORS = [
    "Anna",
    "Boris",
    "Carla",
    "Dora",
    "Emil",
    "1",
    "2",
    "3",
    "45",
    "67",
    "99",
    "1900",
]
CONSONANTS = {"aa": "bdfgklm", "bb": "nprstvz"}


@dataclass(frozen=True)
class Cipher:
    """How many words there are: `nouns` (all that stays in place), and `adjectives`.  Word numbers go on with the anchors."""

    nouns: int
    adjectives: int

    def words(self, language: str) -> list[str]:
        """The spelling of each word."""
        own = [
            c + v + d
            for c in CONSONANTS[language]
            for v in "aeiou"
            for d in CONSONANTS[language]
        ]
        return (
            random.Random(language).sample(own, self.nouns + self.adjectives) + ANCHORS
        )

    def chain(self) -> list[list[int]]:
        """The four successors of each word; none of an adjective is an adjective."""
        draw, first = random.Random(7), self.nouns + self.adjectives
        plain, anchors = (
            list(range(self.nouns)),
            list(range(first, first + len(ANCHORS))),
        )
        adjectives = list(range(self.nouns, first))
        found = []
        for word in range(first + len(ANCHORS)):
            pool = (
                draw.sample(plain, 3)
                if word in adjectives
                else [*draw.sample(plain, 2), draw.choice(adjectives)]
            )
            four = draw.sample(pool, 3)
            four.insert(
                2,
                anchors[word % len(anchors)]
                if word not in anchors
                else draw.choice(plain),
            )
            found.append(four)
        return found

    def walks(self, count: int, seed: int) -> list[list[int]]:
        """Sentences as word numbers, in the order of `aa`."""
        draw, successors = random.Random(seed), self.chain()
        made = []
        while len(made) < count:
            walk = [draw.randrange(self.nouns)]
            length = draw.randint(6, 14)
            while len(walk) < length or self.moves(walk[-1]):
                walk.append(draw.choices(successors[walk[-1]], (8, 4, 2, 1))[0])
            made.append(walk)
        return made

    def say(self, walk: list[int], language: str) -> str:
        """A sentence in a language."""
        order = list(walk)
        if language == "bb":
            for i, word in enumerate(walk):
                if self.moves(word):
                    order[i], order[i + 1] = walk[i + 1], word
        spelt = self.words(language)
        return " ".join(spelt[i] for i in order) + " ."

    def moves(self, word: int) -> bool:
        """Whether a word is an adjective."""
        return self.nouns <= word < self.nouns + self.adjectives

    def write(self, folder: Path, train: int, valid: int) -> None:
        """mono.aa and mono.bb (different sentences), valid.aa and valid.bb (the same)."""
        folder.mkdir(parents=True, exist_ok=True)
        for language, seed in (("aa", 1), ("bb", 2)):
            for name, walks in (
                ("mono", self.walks(train, seed)),
                ("valid", self.walks(valid, 3)),
            ):
                (folder / f"{name}.{language}").write_text(
                    "".join(self.say(w, language) + "\n" for w in walks),
                    encoding="utf-8",
                )
