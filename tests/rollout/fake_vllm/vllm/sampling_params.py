from dataclasses import dataclass
from enum import Enum


class RequestOutputKind(Enum):
    FINAL_ONLY = 2


@dataclass
class SamplingParams:
    seed: int
    output_kind: RequestOutputKind
    max_tokens: int
    logprobs: int
    detokenize: bool
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    min_tokens: int = 0
    stop_token_ids: tuple = ()
