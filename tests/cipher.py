"""Two toy languages, `aa` and `bb`, that are a cipher of each other with some words in another order.

A sentence is a random walk over words. Each word has four successors of its own, with probabilities of 8 : 4 : 2 : 1, so that words differ in
their neighbors and in frequency. A fifth of the tokens are anchors (names, numbers and the full stop), which both languages spell alike; all
other words have different spellings. `aa` puts adjectives before their noun, `bb` after it. Each sentence has exactly one translation, so a
perfect translation has BLEU 100.
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
    """A pair of toy languages with so many `nouns`, which are all words that keep their place, and `adjectives`.

    Words are numbered: first the nouns, then the adjectives, then the anchors.
    """

    nouns: int
    adjectives: int

    def words(self, language: str) -> list[str]:
        """Return the spelling of each word in a language."""
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
        """Return the four successors of each word; those of an adjective are no adjectives."""
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
        """Return sentences as word numbers, in the word order of `aa`."""
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
        """Return the text of a sentence in a language."""
        order = list(walk)
        if language == "bb":
            for i, word in enumerate(walk):
                if self.moves(word):
                    order[i], order[i + 1] = walk[i + 1], word
        spelt = self.words(language)
        return " ".join(spelt[i] for i in order) + " ."

    def moves(self, word: int) -> bool:
        """Return whether a word is an adjective."""
        return self.nouns <= word < self.nouns + self.adjectives

    def write(self, folder: Path, train: int, valid: int) -> None:
        """Write mono.aa and mono.bb, with different sentences, and valid.aa and valid.bb, which translate each other."""
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
