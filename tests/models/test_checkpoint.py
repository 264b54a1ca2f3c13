import pytest
import torch
from tests.conftest import make_model, make_tokenizer

from truing.errors import TruingError
from truing.models import checkpoint
from truing.models.checkpoint import has_training_state, load_training_state, save_training_state


def make_trainer():
    model = make_model(make_tokenizer())
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step))
    generator = torch.Generator().manual_seed(5)
    return model, optimiser, schedule, generator


def train(trainer, steps):
    model, optimiser, schedule, generator = trainer
    for _ in range(steps):
        tokens = torch.randint(5, 200, (2, 8), generator=generator)
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()


def save(trainer, path, extra):
    model, optimiser, _, generator = trainer
    save_training_state(path, models={"policy": model}, optimisers={"adam": optimiser}, extra=extra, generators={"g": generator})


def load(trainer, path):
    model, optimiser, _, generator = trainer
    return load_training_state(path, models={"policy": model}, optimisers={"adam": optimiser}, generators={"g": generator})


def test_going_on_from_a_checkpoint_is_bit_identical(tmp_path):
    straight = make_trainer()
    train(straight, 3)
    save(straight, tmp_path / "c", {"step": 3, "beta": 0.1 + 0.2})
    train(straight, 3)
    resumed = make_trainer()
    train(resumed, 1)
    extra = load(resumed, tmp_path / "c")
    resumed[2].last_epoch = extra["step"]
    train(resumed, 3)
    assert extra == {"step": 3, "beta": 0.1 + 0.2}
    assert all(torch.equal(p, q) for p, q in zip(straight[0].parameters(), resumed[0].parameters(), strict=True))


def test_a_kill_while_saving_leaves_the_state_before(tmp_path, monkeypatch):
    trainer = make_trainer()
    save(trainer, tmp_path / "c", {"step": 1})
    for target in ("save_file", "write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, target, lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                save(trainer, tmp_path / "c", {"step": 2})
        assert load(trainer, tmp_path / "c") == {"step": 1}
    save(trainer, tmp_path / "c", {"step": 3})
    assert load(trainer, tmp_path / "c") == {"step": 3}


def test_nothing_to_resume(tmp_path):
    assert not has_training_state(tmp_path)
    with pytest.raises(TruingError, match="no checkpoint"):
        load(make_trainer(), tmp_path)


def test_a_corrupt_checkpoint_says_so(tmp_path):
    save(make_trainer(), tmp_path / "c", {})
    (tmp_path / "c" / "a" / "model-policy.safetensors").write_bytes(b"short")
    with pytest.raises(TruingError, match="cannot be read"):
        load(make_trainer(), tmp_path / "c")


def test_a_full_disk_is_told_in_words(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(*args, **kwargs):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TruingError, match="disk is full"):
        save(make_trainer(), tmp_path / "c", {})
