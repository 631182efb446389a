"""Read the vocabulary of mBART (Liu et al. 2020; Tang et al. 2020): SentencePiece, and a tag per language.

Ids are fairseq's: `<s> <pad> </s> <unk>` come first, then the other pieces, whose ids are those of the
SentencePiece model plus one, then the tags of the languages and `<mask>`.

    mBART-25   source: words </s> en_XX     decoder: ro_RO words
    mBART-50   source: en_XX words </s>     decoder: </s> ro_RO words
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import SETTINGS, read_json_if_present
from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    Sizes,
    added_token_ids,
    language_ids,
    place_pieces,
    read_model,
)
from masscli.text.numbered_sentencepiece import pack_numbered_sentencepiece
from masscli.text.sentencepiece_model import SentencePieceModel

FAIRSEQ_SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
# In the order of their ids.
_LANGUAGES_25 = (
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM "
    "ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN"
)
_MORE_LANGUAGES_50 = (
    "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE "
    "sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI"
)


def read_mbart(
    folder: Path, config: Mapping[str, Any], sizes: Sizes, languages: Sequence[str]
) -> Seq2SeqVocabulary:
    """Return the vocabulary of the mBART model in `folder`, from its SentencePiece model.

    It is mBART-50 if the name of its tokenizer class, in tokenizer_config.json or else in the content of
    config.json (`config`), contains 50, else mBART-25. The first of `sizes` is the number of rows of the
    token embeddings. The tags of `languages` get masscli's names for language tags. Raises MasscliError
    if the file is missing or does not match the embeddings, or if a language has no tag.
    """
    size = sizes[0]
    path, data = read_model(folder, "sentencepiece.bpe.model", "spiece.model")
    ids = fairseq_ids(data)
    settings = read_json_if_present(folder / SETTINGS)
    class_name = settings.get("tokenizer_class") or config.get("tokenizer_class")
    is_mbart50 = "50" in str(class_name)
    names = _LANGUAGES_25.split()
    if is_mbart50:
        names += _MORE_LANGUAGES_50.split()
    tags = {name: number for number, name in enumerate(names, len(ids))}
    tags["<mask>"] = len(ids) + len(names)
    # The tokenizer's own files take precedence over the usual order.
    added = added_token_ids(folder)
    tags = {name: added.get(name, number) for name, number in tags.items()}
    pieces, unused = place_pieces({**ids, **tags}, size, path)
    codes = {name: tags[name] for name in names}
    special_ids = FAIRSEQ_SPECIAL | {"<mask>": tags["<mask>"]} | codes
    special_ids |= language_ids(languages, codes, path)
    framing = {"languages": "tag", "source_tag": "last", "target_tag": "start"}
    if is_mbart50:
        framing = {"languages": "tag", "source_tag": "first", "target_tag": "forced"}
    return Seq2SeqVocabulary(
        path, pack_numbered_sentencepiece(data, pieces, special_ids, unused), framing
    )


def fairseq_ids(model: bytes) -> dict[str, int]:
    """Return fairseq's ids by piece for a SentencePiece model, given as the bytes of its file.

    `<s> <pad> </s> <unk>` are 0 to 3, and every other piece has SentencePiece's id plus one.
    """
    processor = SentencePieceModel(model).processor
    ids = dict(FAIRSEQ_SPECIAL)
    for number in range(len(processor)):
        piece = processor.id_to_piece(number)
        # SentencePiece's own special pieces come first with different ids; fairseq's are already in
        # place.
        if piece not in ids:
            ids[piece] = number + 1
    return ids
