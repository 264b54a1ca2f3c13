"""Tried on every model as it is loaded: do sequences laid end to end give exactly what each gives alone?

Configuration cannot tell (recurrent layers, convolutions, attention that ignores the layout, positions not taken from
`position_ids`), so some tokens are run both ways: more than `attention.py` takes for short, so that they go the way that
training does. It costs a handful of small forward passes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel

from truing.errors import TruingError
from truing.models.forward import hidden_states, vocabulary_size
from truing.models.head import head_logits
from truing.models.ragged import RaggedBatch

_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 6e-2, torch.float16: 1e-2}
"""Largest difference allowed, relative to the largest value: rounding passes, a leak between neighbours does not."""
_SEQUENCES = ((40, 3, 2), (50, 11, 7))
"""How many tokens, the first, and how far apart their numbers are."""


def require_ragged(model: PreTrainedModel, name: str) -> None:
    """Raise TruingError where packed sequences would influence each other, a state depends on whether others are read, or logits
    are not head(hidden).
    """
    device = model.device
    vocabulary = vocabulary_size(model)
    context = getattr(model.config, "max_position_embeddings", None) or math.inf
    first, second = (
        [(start + step * place) % vocabulary for place in range(int(min(n, context)))] for n, start, step in _SEQUENCES
    )
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            packed, alone_first, alone_second, prefix = (
                hidden_states(model, RaggedBatch.from_sequences(sequences, device))
                for sequences in ([first, second], [first], [second], [second[: len(second) // 2]])
            )
            both = RaggedBatch.from_sequences([first, second], device)
            reading = both.positions([[place == len(one) - 2 for place in range(len(one))] for one in (first, second)]).reading
            some = hidden_states(model, both, reading)[reading.rows_U]
            same = (
                _close(packed[: len(first)], alone_first, model.dtype)
                and _close(packed[len(first) :], alone_second, model.dtype)
                and _close(prefix, alone_second[: len(prefix)], model.dtype)
                and _close(some, packed[reading.rows_U], model.dtype)
            )
            heads_agree = model.get_output_embeddings() is None or _close(
                head_logits(model, alone_second), model(input_ids=torch.tensor([second], device=device)).logits[0], model.dtype
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


def _close(a: Tensor, b: Tensor, dtype: torch.dtype) -> bool:
    """Whether they are equal but for the rounding of `dtype`, in which the model computes."""
    tolerance = _TOLERANCE.get(dtype, 1e-3) * max(1.0, float(b.abs().max()))
    return bool((a - b).abs().max() <= tolerance)
