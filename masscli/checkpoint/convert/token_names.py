"""Names of token ids for other programs, which identify tokens by their text and not by their number."""

from __future__ import annotations

import sentencepiece

from masscli.text.model_kinds import SENTENCEPIECE, TRAINED_BPE
from masscli.text.tokenizer import Tokenizer


def token_names(tokenizer: Tokenizer) -> list[str]:
    """Return a list with the name of each id: its piece, as the program that made the vocabulary writes it.

    Ids without a piece get a name by their role, such as `<lang:de>`, or by their number, such as `<103>`. No
    two ids have the same name, unless two pieces of the vocabulary do.
    """
    if tokenizer.model_kind in (TRAINED_BPE, SENTENCEPIECE):
        model = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_bytes)
        names = list(model.id_to_piece(list(range(len(model)))))
    else:
        names = tokenizer.all_pieces()
    vocab = tokenizer.vocab
    roles = {
        vocab.pad: "<pad>",
        vocab.mask: "<mask>",
        vocab.cls: "<cls>",
        vocab.sep: "<sep>",
    }
    # Where roles share an id, the last name wins.
    roles |= {vocab.unk: "<unk>", vocab.bos: "<s>", vocab.eos: "</s>"}
    for number, spare in enumerate(vocab.spare):
        roles[spare] = f"<spare{number}>"
    for language, number in vocab.languages.items():
        roles[number] = f"<lang:{language}>"
    known = set(names)
    for number in range(len(names), vocab.size):
        name = roles.get(number, f"<{number}>")
        # A piece of the model may already have this name.
        while name in known:
            name = f"<{name}>"
        names.append(name)
        known.add(name)
    return names
