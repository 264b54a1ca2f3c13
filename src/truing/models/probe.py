"""Tried on every model as it is loaded: do sequences laid end to end give exactly what each gives alone?

Configuration cannot tell (recurrent layers, convolutions, attention that ignores the layout, positions not taken from
`position_ids`), so a few tokens are run both ways. It costs a handful of tiny forward passes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from truing.errors import TruingError
from truing.models.forward import hidden_states, vocabulary_size
from truing.models.head import head_logits
from truing.models.ragged import RaggedBatch

_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 6e-2, torch.float16: 1e-2}
"""Largest difference allowed, relative to the largest value: rounding passes, a leak between neighbours does not."""


def require_ragged(model: PreTrainedModel, name: str) -> None:
    """Raise TruingError where packed sequences would influence each other, or logits are not head(hidden)."""
    device = model.device
    vocabulary = vocabulary_size(model)
    first = [3 % vocabulary, 5 % vocabulary, 2 % vocabulary, 7 % vocabulary]
    second = [11 % vocabulary, 4 % vocabulary, 9 % vocabulary, 1, 6 % vocabulary, 8 % vocabulary]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            packed, alone_first, alone_second, prefix = (
                hidden_states(model, RaggedBatch.from_sequences(sequences, device))
                for sequences in ([first, second], [first], [second], [second[:3]])
            )
            same = _close(packed[:4], alone_first) and _close(packed[4:], alone_second) and _close(prefix, alone_second[:3])
            heads_agree = model.get_output_embeddings() is None or _close(
                head_logits(model, alone_second), model(input_ids=torch.tensor([second], device=device)).logits[0]
            )
    except (TypeError, ValueError, RuntimeError) as error:
        raise TruingError(
            f"{name}: {type(model).__name__} cannot run unpadded batches ({error}). Choose another model."
        ) from None
    finally:
        model.train(was_training)
    if not same:
        raise TruingError(
            f"{name}: in {type(model).__name__}, sequences packed in one batch influence each other. "
            "Choose a decoder with causal softmax attention in every layer (Llama, Mistral, Qwen, ...)."
        )
    if not heads_agree:
        raise TruingError(f"{name}: {type(model).__name__} turns hidden states into logits in a way Truing does not know.")


def _close(a: Tensor, b: Tensor) -> bool:
    tolerance = _TOLERANCE.get(b.dtype, 1e-3) * max(1.0, float(b.abs().max()))
    return bool((a - b).abs().max() <= tolerance)
