import torch
from transformers import AutoModelForCausalLM

from benchmarks.paired.models import END, FIRST_WORD, make_model


def test_the_same_arguments_give_the_same_weights(tmp_path):
    one, other = (AutoModelForCausalLM.from_pretrained(make_model(tmp_path / name, 512)) for name in ("one", "other"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_five_million_parameters_with_the_small_vocabulary(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(make_model(tmp_path, 8192))
    assert round(model.num_parameters() / 1e6, 1) == 5.3


@torch.no_grad()
def test_completions_may_end_anywhere_with_about_the_same_chance(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(make_model(tmp_path, 512, mean_length=20))
    texts = torch.randint(FIRST_WORD, 512, (4, 40), generator=torch.Generator().manual_seed(1))
    chance = model(input_ids=texts).logits.softmax(-1)[..., END]
    assert 0.6 / 20 < float(chance.median()) < 1.6 / 20
    assert float(chance.min()) > 0.2 / 20
