"""What a text task cuts its sources and targets to is what generation reads and writes, whatever the special tokens."""

from __future__ import annotations

import pytest

from masscli.data.batches.framing import Framing
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.write.length_limits import LengthLimits
from masscli.objectives.write.options import SummarizeOptions
from tests.vocabularies import vocabulary_of_ids


@pytest.mark.parametrize("source_bos", [False, True], ids=["eos", "bos-eos"])
@pytest.mark.parametrize("language_tag", [False, True], ids=["plain", "tag"])
def test_training_and_generation_have_the_same_limits(
    source_bos: bool, language_tag: bool
) -> None:
    languages = ("en",)
    vocab = vocabulary_of_ids(40)
    model = ModelConfig(
        dim=8, ffn_dim=8, heads=1, encoder_layers=1, decoder_layers=1, max_positions=12, decoder_max_positions=9,
    )  # fmt: skip
    framing = Framing(
        vocab=vocab,
        source_bos=source_bos,
        language_tag=language_tag,
        languages=languages,
    )
    limits = LengthLimits.from_options(SummarizeOptions(), model, framing)
    decoder = Decoder(
        [Transformer(model, vocab.size, languages)], framing, GenerationConfig()
    )
    assert limits.source == decoder.max_source_length
    assert limits.target == decoder.max_output_length(limits.source)
