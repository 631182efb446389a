"""A copy of a model for searching while it is being trained.

Trained weights are fp32 and are cast for every product; a search makes some thirty steps with the same ones, so that one cast of all of
them is cheaper.  Where a model computes in fp32 nothing is copied.
"""

from __future__ import annotations

import torch

from masscli.models.transformer import Transformer


def inference_copy(model: Transformer) -> Transformer:
    """The model itself when it computes in fp32; otherwise a copy of what its weights are now, in its compute type, in eval mode."""
    if model.compute_dtype == torch.float32:
        return model
    with torch.device("meta"):
        copy = Transformer(model.config, model.vocab_size, model.languages)
    copy.load_state_dict(
        {name: tensor.to(model.compute_dtype) for name, tensor in model.state_dict().items()}, assign=True
    )
    device = next(model.parameters()).device
    copy = copy.to(device=device, dtype=model.compute_dtype).eval().requires_grad_(False)
    copy.compute_dtype = model.compute_dtype
    return copy
