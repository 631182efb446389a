"""The sample text: right sentences, in parts that do not overlap.

The expected sentences were written by hand; they say which words they need, and the phrasebook must produce them word for word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from masscli.__main__ import run
from masscli.text.demo import LANGUAGES, Entry, Phrasebook, phrasebook, render, sentences, write

SIZES = {"train": 400, "valid": 100, "test": 200}
MONO = 3500

PARTS = [f"{part}.{language}" for part in SIZES for language in LANGUAGES]
MONOS = [f"mono.{language}.txt" for language in LANGUAGES]


@pytest.fixture(scope="module")
def found() -> list[dict[str, str]]:
    return sentences(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "new"
    write(path)
    return path


def lines(path: Path) -> list[str]:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    return text[:-1].split("\n")


# -- grammar -----------------------------------------------------------------------------------------------------------------------------


def candidates(book: Phrasebook, kind: str) -> list[Entry]:
    if kind in book.deeds:
        return [phrase for deed in book.deeds[kind] for phrase in deed.phrases]
    return list(book.words[kind])


def english(entry: Entry) -> set[str]:
    """By what a test may name a word: any of its English forms; a deed by its infinitive and object."""
    forms = entry["en"].forms
    return {f"{forms['inf']} {forms['what']}"} if {"inf", "what"} <= forms.keys() else set(forms.values())


def say(start: str, **words: str) -> dict[str, str]:
    """The frame whose English template begins with `start`, with the words that are named in English."""
    book = phrasebook()
    (frame,) = [f for f in book.frames if f.templates["en"].startswith(start)]
    chosen = {}
    for slot, kind in frame.slots.items():
        fitting = [e for e in candidates(book, kind) if slot not in words or words[slot] in english(e)]
        assert len(fitting) == 1, (slot, words.get(slot), len(fitting))
        chosen[slot] = fitting[0]
    return render(frame, chosen)


EXPECTED: list[tuple[str, Mapping[str, str], tuple[str, str, str, str]]] = [
    ("{who} {do.past} {do.what} {past}.", {"who": "I", "do": "buy the apples", "past": "yesterday"},
     ("I bought the apples yesterday.", "J'ai acheté les pommes hier.", "Ich habe gestern die Äpfel gekauft.", "Am cumpărat merele ieri.")),
    ("{past}, {who} {do.past}", {"who": "my parents", "do": "wait for the bus", "past": "last week"},
     ("Last week, my parents waited for the bus.", "La semaine dernière, mes parents ont attendu le bus.",
      "Letzte Woche haben meine Eltern auf den Bus gewartet.", "Săptămâna trecută părinții mei au așteptat autobuzul.")),
    ("{who} did not {do.inf} {do.what} {past}.", {"who": "we", "do": "drink coffee", "past": "yesterday"},
     ("We did not drink coffee yesterday.", "Nous n'avons pas bu de café hier.", "Wir haben gestern keinen Kaffee getrunken.",
      "Nu am băut cafea ieri.")),
    ("{who} did not {do.inf} {do.what} {past}.", {"who": "Paul", "do": "find the key", "past": "last Monday"},
     ("Paul did not find the key last Monday.", "Paul n'a pas trouvé la clé lundi dernier.",
      "Paul hat den Schlüssel letzten Montag nicht gefunden.", "Paul nu a găsit cheia lunea trecută.")),
    ("{who} never", {"who": "I", "do": "forget the umbrella"},
     ("I never forget the umbrella.", "Je n'oublie jamais le parapluie.", "Ich vergesse den Regenschirm nie.",
      "Nu uit niciodată umbrela.")),
    ("{who} never", {"who": "the children", "do": "play tennis"},
     ("The children never play tennis.", "Les enfants ne jouent jamais au tennis.", "Die Kinder spielen nie Tennis.",
      "Copiii nu joacă niciodată tenis.")),
    ("{who} {have:who} not", {"who": "my sister", "do": "learn French"},
     ("My sister has not learned French yet.", "Ma sœur n'a pas encore appris le français.",
      "Meine Schwester hat noch kein Französisch gelernt.", "Sora mea încă nu a învățat franceză.")),
    ("{who} went {place.to} {past}.", {"who": "my grandmother", "place": "to the beach", "past": "last summer"},
     ("My grandmother went to the beach last summer.", "Ma grand-mère est allée à la plage l'été dernier.",
      "Meine Großmutter ist letzten Sommer an den Strand gegangen.", "Bunica mea a mers la plajă vara trecută.")),
    ("{who} {verb.past} {recipient}", {"who": "we", "verb": "gave", "recipient": "my sister", "thing": "umbrella", "past": "yesterday"},
     ("We gave my sister an umbrella yesterday.", "Nous avons donné un parapluie à ma sœur hier.",
      "Wir haben meiner Schwester gestern einen Regenschirm gegeben.", "I-am dat surorii mele o umbrelă ieri.")),
    ("{who} like to", {"who": "we", "do": "play chess", "companion": "with my father"},
     ("We like to play chess with my father.", "Nous aimons jouer aux échecs avec mon père.",
      "Wir spielen gern mit meinem Vater Schach.", "Ne place să jucăm șah împreună cu tatăl meu.")),
    ("{who} {modal:who} {do.inf} {do.what} {future}.",
     {"who": "the children", "modal": "want to", "do": "read the story", "future": "this evening"},
     ("The children want to read the story this evening.", "Les enfants veulent lire l'histoire ce soir.",
      "Die Kinder wollen heute Abend die Geschichte lesen.", "Copiii vor să citească povestea diseară.")),
    ("{future}, {who} {modal:who}", {"who": "my brother", "modal": "must", "do": "clean the bathroom", "future": "tomorrow"},
     ("Tomorrow, my brother must clean the bathroom.", "Demain, mon frère doit nettoyer la salle de bains.",
      "Morgen muss mein Bruder das Badezimmer putzen.", "Mâine fratele meu trebuie să curețe baia.")),
    ("{request}", {"request": "can you", "do": "buy the bread", "future": "tomorrow morning"},
     ("Can you buy the bread tomorrow morning?", "Peux-tu acheter le pain demain matin ?", "Kannst du morgen früh das Brot kaufen?",
      "Poți să cumperi pâinea mâine dimineață?")),
    ("why did", {"who": "Anna", "do": "sell the coat", "past": "yesterday"},
     ("Why did Anna sell the coat yesterday?", "Pourquoi Anna a-t-elle vendu le manteau hier ?",
      "Warum hat Anna gestern den Mantel verkauft?", "De ce a vândut Anna paltonul ieri?")),
    ("how much", {"item": "shoes", "colour": "white"},
     ("How much do the white shoes cost?", "Combien coûtent les chaussures blanches ?", "Wie viel kosten die weißen Schuhe?",
      "Cât costă pantofii albi?")),
    ("{who} {do.past} {item.art}", {"who": "Elena", "do": "bought", "item": "coat", "colour": "green", "past": "yesterday"},
     ("Elena bought a green coat yesterday.", "Elena a acheté un manteau vert hier.", "Elena hat gestern einen grünen Mantel gekauft.",
      "Elena a cumpărat un palton verde ieri.")),
    ("{who} {do.past} {item.art}", {"who": "Elena", "do": "bought", "item": "dress", "colour": "white", "past": "yesterday"},
     ("Elena bought a white dress yesterday.", "Elena a acheté une robe blanche hier.", "Elena hat gestern ein weißes Kleid gekauft.",
      "Elena a cumpărat o rochie albă ieri.")),
    ("the {colour} {item.bare} {cost:item}", {"item": "skirt", "colour": "black", "price": "twenty euros"},
     ("The black skirt costs twenty euros.", "La jupe noire coûte vingt euros.", "Der schwarze Rock kostet zwanzig Euro.",
      "Fusta neagră costă douăzeci de euro.")),
    ("{who} {buy:who}", {"who": "my uncle", "number": "two", "counted": "lemons", "shop": "at the market"},
     ("My uncle buys two lemons at the market.", "Mon oncle achète deux citrons au marché.",
      "Mein Onkel kauft auf dem Markt zwei Zitronen.",
      "Unchiul meu cumpără două lămâi la piață.")),
    ("{who} {buy:who}", {"who": "I", "number": "two", "counted": "potatoes", "shop": "at the market"},
     ("I buy two potatoes at the market.", "J'achète deux pommes de terre au marché.", "Ich kaufe auf dem Markt zwei Kartoffeln.",
      "Cumpăr doi cartofi la piață.")),
    ("{who} did not buy", {"who": "my mother", "item": "jacket", "degree": "too", "drawback": "expensive"},
     ("My mother did not buy the jacket because it was too expensive.", "Ma mère n'a pas acheté la veste parce qu'elle était trop chère.",
      "Meine Mutter hat die Jacke nicht gekauft, weil sie zu teuer war.", "Mama mea nu a cumpărat jacheta pentru că era prea scumpă.")),
    ("{who} did not buy", {"who": "we", "item": "gloves", "degree": "too", "drawback": "small"},
     ("We did not buy the gloves because they were too small.", "Nous n'avons pas acheté les gants parce qu'ils étaient trop petits.",
      "Wir haben die Handschuhe nicht gekauft, weil sie zu klein waren.", "Nu am cumpărat mănușile pentru că erau prea mici.")),
    ("{item.def} that", {"item": "coat", "who": "I", "acquired": "found", "past": "yesterday", "rather": "very", "fit": "old"},
     ("The coat that I found yesterday is very old.", "Le manteau que j'ai trouvé hier est très vieux.",
      "Der Mantel, den ich gestern gefunden habe, ist sehr alt.", "Paltonul pe care l-am găsit ieri este foarte vechi.")),
    ("{item.def} that", {"item": "shirt", "who": "we", "acquired": "bought", "past": "last week", "rather": "very", "fit": "warm"},
     ("The shirt that we bought last week is very warm.", "La chemise que nous avons achetée la semaine dernière est très chaude.",
      "Das Hemd, das wir letzte Woche gekauft haben, ist sehr warm.",
      "Cămașa pe care am cumpărat-o săptămâna trecută este foarte călduroasă.")),
    ("{item.def} {be:item} {fit.comp}", {"item": "gloves", "other": "hat", "fit": "big"},
     ("The gloves are bigger than the hat.", "Les gants sont plus grands que le chapeau.", "Die Handschuhe sind größer als der Hut.",
      "Mănușile sunt mai mari decât pălăria.")),
    ("{who} {be:who} {build}", {"who": "my sister", "other": "Anna", "build": "younger"},
     ("My sister is younger than Anna.", "Ma sœur est plus jeune qu'Anna.", "Meine Schwester ist jünger als Anna.",
      "Sora mea este mai tânără decât Anna.")),
    ("I would like", {"one": "soup", "two": "eggs"},
     ("I would like soup and eggs, please.", "Je voudrais de la soupe et des œufs, s'il vous plaît.", "Ich möchte bitte Suppe und Eier.",
      "Aș dori supă și ouă, vă rog.")),
    ("{who} {have:who} no more", {"who": "I", "food": "eggs"},
     ("I have no more eggs.", "Je n'ai plus d'œufs.", "Ich habe keine Eier mehr.", "Nu mai am ouă.")),
    ("{who} {be:who} {mood} because {who.pro} {do.past}",
     {"who": "our friends", "mood": "happy", "do": "watch the match", "past": "yesterday"},
     ("Our friends are happy because they watched the match yesterday.", "Nos amis sont heureux parce qu'ils ont regardé le match hier.",
      "Unsere Freunde sind glücklich, weil sie gestern das Spiel gesehen haben.",
      "Prietenii noștri sunt fericiți pentru că au văzut meciul ieri.")),
    ("{opinion} that {who} {modal:who}",
     {"opinion": "I know", "who": "Martin", "modal": "would like to", "do": "work in the garden", "future": "tomorrow"},
     ("I know that Martin would like to work in the garden tomorrow.", "Je sais que Martin aimerait travailler dans le jardin demain.",
      "Ich weiß, dass Martin morgen im Garten arbeiten möchte.", "Știu că Martin ar vrea să lucreze în grădină mâine.")),
    ("{past}, {weather.past}", {"past": "yesterday", "weather": "it was cold", "city": "Vienna"},
     ("Yesterday, it was cold in Vienna.", "Hier, il a fait froid à Vienne.", "Gestern war es in Wien kalt.",
      "Ieri a fost frig la Viena.")),
    ("when {weather}", {"weather": "it is windy", "who": "my parents", "do": "drink tea"},
     ("When it is windy, my parents drink tea.", "Quand il y a du vent, mes parents boivent du thé.",
      "Wenn es windig ist, trinken meine Eltern Tee.", "Când bate vântul, părinții mei beau ceai.")),
    ("{one.def} is {relation}", {"one": "post office", "two": "museum", "relation": "opposite"},
     ("The post office is opposite the museum.", "La poste est en face du musée.", "Die Post ist gegenüber dem Museum.",
      "Poșta este vizavi de muzeu.")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "words", "expected"), EXPECTED, ids=[expected[0] for _, _, expected in EXPECTED]
)
def test_words_agree(start: str, words: Mapping[str, str], expected: tuple[str, str, str, str]) -> None:
    assert tuple(say(start, **words).values()) == expected


def test_every_word_fits_every_slot_of_its_class() -> None:
    """A form that is missing raises; what was left unfilled or unspelt would show."""
    book = phrasebook()
    for frame in book.frames:
        pools = {slot: candidates(book, kind) for slot, kind in frame.slots.items()}
        for slot, pool in pools.items():
            for entry in pool:
                others = {
                    other: next(e for e in words if e is not entry)
                    for other, words in pools.items()
                    if other != slot
                }
                chosen = {**others, slot: entry}
                for text in render(frame, chosen).values():
                    assert re.fullmatch(r"[^\W\d_][\w' ,-]*(\.| \?|\?)", text), text
                    assert "  " not in text and " ." not in text and " ," not in text


PLURAL = "(?i:we|the children|my parents|our friends)"
WRONG = {
    "en": [r"\ba [aeiou]", r"\ban [^aeiou]", rf"\b{PLURAL} (is|has|goes|wants|buys|reads|was)\b", r"\b(he|she|it) (are|have|were|want)\b"],
    "fr": [r"\b([jJ]e|[Nn]e|[Qq]ue|[Dd]e|[Ll]e|[Ll]a) [aeiouyhàéêîœ]", r"\b(à|de) (le|les)\b", r"\b[Ll]es \w*[a-rt-wyzé]\b", r"' "],
    "de": [r"\b(der|einen|eine) (\w+ )?(Kleid|Hemd|Buch)\b", r"\b(das|einen|ein) (\w+ )?(Jacke|Suppe|Zeitung)\b",
           r"\b(weil|dass|wenn) [^,.]*\b(hat|ist|haben|sind) [^,.]", r"\b(Kinder|Eltern|Freunde|wir) (hat|ist|muss|kann|mögen)\b"],
    "ro": [r"(?<!-)\bo \w+a\b", r"\bun \w+ul\b", r"\bdoi (mere|ouă|roșii|lămâi|bilete|cărți)\b", r"\bdouă cartofi\b", r"[şţ]", r"\bcă co"],
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_has_a_known_mistake(found: list[dict[str, str]], language: str) -> None:
    for pattern in WRONG[language]:
        bad = [sentence[language] for sentence in found if re.search(pattern, sentence[language])]
        assert not bad, (pattern, bad[:3])


# -- the parts ---------------------------------------------------------------------------------------------------------------------------


def test_there_are_many_sentences_and_no_text_twice(found: list[dict[str, str]]) -> None:
    assert len(found) > 16_000
    for language in LANGUAGES:
        assert len({sentence[language] for sentence in found}) == len(found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_pairs_leave_words_to_the_monolingual_text(folder: Path, language: str) -> None:
    known = {word for line in lines(folder / f"train.{language}") for word in line.split()}
    there = {word for line in lines(folder / f"mono.{language}.txt") for word in line.split()}
    assert len(there) > 350
    assert len(there - known) > 50


def test_each_part_has_its_lines(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted([*PARTS, *MONOS])
    for name in PARTS:
        assert len(lines(folder / name)) == SIZES[name.split(".")[0]]
    for name in MONOS:
        assert len(lines(folder / name)) == MONO


def test_lines_of_a_part_are_translations(folder: Path, found: list[dict[str, str]]) -> None:
    known = {tuple(sentence.values()) for sentence in found}
    for part in SIZES:
        for row in zip(*(lines(folder / f"{part}.{language}") for language in LANGUAGES), strict=True):
            assert row in known


def test_no_sentence_is_in_two_files_in_any_language(folder: Path, found: list[dict[str, str]]) -> None:
    """A line stands for its sentence in all four languages: neither it nor a translation of it may be elsewhere."""
    number = {(language, sentence[language]): n for n, sentence in enumerate(found) for language in LANGUAGES}
    groups = [[number["en", line] for line in lines(folder / f"{part}.en")] for part in SIZES]
    groups += [
        [number[language, line] for line in lines(folder / f"mono.{language}.txt")] for language in LANGUAGES
    ]
    everything = [n for group in groups for n in group]
    assert len(set(everything)) == len(everything) == 700 + 4 * MONO


def test_a_seed_always_means_the_same(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "again")
    write(tmp_path / "other", seed=2)
    for name in [*PARTS, *MONOS]:
        data = (folder / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == data
        assert (tmp_path / "other" / name).read_bytes() != data


# -- the command -------------------------------------------------------------------------------------------------------------------------


def test_the_command_writes_and_may_be_repeated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a" / "b"
    assert run(["demo", str(target)]) == 0
    assert run(["demo", str(target)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"{target}: {', '.join([*PARTS, *MONOS])}"] * 2
    assert (target / "test.ro").read_bytes() == (folder / "test.ro").read_bytes()


def test_text_of_the_user_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "valid.fr").write_text("à moi\n", encoding="utf-8")
    assert run(["demo", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"error: {tmp_path / 'valid.fr'}: is there already, with other contents",
        "hint: name a folder that is new or empty",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["valid.fr"]
    assert (tmp_path / "valid.fr").read_text(encoding="utf-8") == "à moi\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(["demo", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path / 'file'}: cannot be written (File exists)",
        "hint: name another folder",
    ]
