"""A copy of a model to generate with while the model is being trained.

Trained weights are fp32, and every product casts them again. A search makes about thirty steps with the
same weights, so one cast of all of them is cheaper. A model that computes in fp32 is not copied.
"""

from __future__ import annotations

import torch

from masscli.models.transformer import Transformer


def inference_copy(model: Transformer) -> Transformer:
    """Return the model itself if it computes in fp32, else a copy of its weights in its compute dtype.

    The copy is in eval mode and needs no gradients.
    """
    if model.compute_dtype == torch.float32:
        return model
    # On the device "meta" no memory is allocated and no weight is drawn.
    with torch.device("meta"):
        copy = Transformer(
            model.config, model.vocab_size, model.languages, model.id_ranges
        )
    # With `assign` the cast tensors become the weights, without a copy into allocated ones.
    weights = {
        name: tensor.to(model.compute_dtype)
        for name, tensor in model.state_dict().items()
    }
    copy.load_state_dict(weights, assign=True)
    device = next(model.parameters()).device
    # Buffers that checkpoints do not hold, as sinusoids, were made on the default device in fp32.
    copy = (
        copy.to(device=device, dtype=model.compute_dtype).eval().requires_grad_(False)
    )
    copy.compute_dtype = model.compute_dtype
    return copy
