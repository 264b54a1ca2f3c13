"""The client and the worker over a stand-in for vLLM (fake_vllm/): what goes wrong, and what becomes of it.

What vLLM itself draws is tested by the contract (test_contract.py, `-m vllm`).
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from tests.conftest import make_model

from truing.errors import TruingError
from truing.models.config import LoRASettings
from truing.models.load import load_policy, load_tokenizer
from truing.models.lora import add_adapters
from truing.records import Ending
from truing.rollout.config import EngineConfig, VllmConfig
from truing.rollout.make import make_sampler
from truing.rollout.sampler import SamplingSettings
from truing.rollout.vllm import VllmSampler

FAKE = Path(__file__).parent / "fake_vllm"
PROMPTS = [[2, 30, 41, 3], [2, 99, 3], [2, 44, 45, 3]]
SETTINGS = SamplingSettings(max_new_tokens=12)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir):
    return load_tokenizer(tiny_model_dir)


@pytest.fixture
def model(tiny_model_dir):
    return load_policy(tiny_model_dir)


@pytest.fixture
def orders(tmp_path, monkeypatch):
    """Tell the stand-in what to do: `(orders / "die").touch()`."""
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("TRUING_FAKE_VLLM", str(tmp_path))
    return tmp_path


@pytest.fixture
def sampler(model, tokenizer, orders):
    with closing(VllmSampler(model, tokenizer, config=VllmConfig(attempts=3))) as sampler:
        yield sampler


def draw(sampler, seed=0, n=2, on_progress=None, **changes):
    settings = SETTINGS.with_changes(**changes)
    return sampler.sample(PROMPTS, samples_per_prompt=n, settings=settings, seed=seed, on_progress=on_progress)


def changed(model):
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    return model


def is_running(pid):
    """Neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(is_true, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def script(tmp_path, body):
    """An `engine.vllm.python` that speaks to the client itself, whatever worker it is asked to run."""
    path = tmp_path / "interpreter"
    path.write_text(f"#!{sys.executable}\nimport json, sys\nversion = None\n{body}\n")
    path.chmod(0o755)
    return VllmConfig(python=str(path), attempts=2)


def test_answers_come_in_the_order_of_prompts_with_seeds_of_their_own(sampler):
    groups = draw(sampler, n=3)
    assert [len(group) for group in groups] == [3, 3, 3]
    assert len({one.tokens for group in groups for one in group}) == 9
    assert draw(sampler, n=3) == groups
    assert draw(sampler, n=3, seed=1) != groups
    assert draw(sampler, n=2)[0] == groups[0][:2]  # a sample's place decides, not how many there are


def test_endings_and_the_end_token(sampler, tokenizer):
    sampler.model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(100, 120)]
    sampler.load_weights(sampler.model, 1)
    seen = [one for group in draw(sampler, n=16) for one in group]
    for one in seen:
        is_end = [100 <= token < 120 for token in one.tokens]
        assert not any(is_end[:-1])
        assert one.ending is (Ending.END_OF_TURN if is_end[-1] else Ending.LENGTH)
        assert len(one.logprobs) == len(one.tokens)
    assert {one.ending for one in seen} == {Ending.END_OF_TURN, Ending.LENGTH}


def test_a_stop_string_cuts_after_the_token_that_completes_it(sampler, tokenizer):
    free = draw(sampler)[0][0]
    stop = tokenizer.decode(list(free.tokens[:5]))[-2:]
    cut = draw(sampler, stop=(stop,))[0][0]
    assert cut.ending is Ending.STOP_STRING
    assert cut.tokens == free.tokens[: len(cut.tokens)]
    assert len(cut.logprobs) == len(cut.tokens) <= 5
    assert sampler.last_speed.completion_tokens < 6 * 12
    late = draw(sampler, stop=(stop,), min_new_tokens=12)[0][0]
    assert late.ending is Ending.LENGTH
    assert late.tokens == free.tokens


def test_new_weights_are_taken_over_without_a_restart(sampler, model):
    before, pid = draw(sampler), sampler.worker_pid
    sampler.load_weights(changed(model), 7)
    after = draw(sampler)
    assert sampler.worker_pid == pid
    assert {one.weights_version for group in after for one in group} == {7}
    assert [one.tokens for group in after for one in group] != [one.tokens for group in before for one in group]


def test_adapters_are_merged_into_what_is_sent(model, tokenizer, orders):
    pytest.importorskip("peft")
    add_adapters(model, LoRASettings(rank=2), seed=0)
    with closing(VllmSampler(model, tokenizer, config=VllmConfig())) as sampler:
        plain = draw(sampler)
        changed(model)
        sampler.load_weights(model, 1)
        assert [[one.tokens for one in group] for group in draw(sampler)] != [[one.tokens for one in group] for group in plain]
        sent = load_policy(next(sampler._home.glob("weights-*")))
    tokens = torch.tensor([PROMPTS[0]])
    with torch.no_grad():
        torch.testing.assert_close(sent(tokens).logits, model(tokens).logits, rtol=0, atol=1e-4)


def test_killed_in_the_middle_it_starts_again_on_the_current_weights(sampler, model, orders):
    sampler.load_weights(changed(model), 4)
    expected, pid = draw(sampler), sampler.worker_pid
    (orders / "hang").touch()
    killer = threading.Timer(0.3, lambda: (os.kill(pid, signal.SIGKILL), (orders / "hang").unlink()))
    killer.start()
    with pytest.warns(UserWarning, match=r"killed by signal SIGKILL.*version 4"):
        again = draw(sampler)
    killer.join()
    assert again == expected  # version 4 is on them too
    assert sampler.worker_pid != pid
    assert not Path(f"/proc/{pid}").exists()  # nor a zombie


@pytest.fixture
def impatient(model, tokenizer, orders):
    with closing(VllmSampler(model, tokenizer, config=VllmConfig(attempts=2, timeout_s=3.0))) as sampler:
        yield sampler


def test_one_that_hangs_is_killed_and_started_again(impatient, orders):
    expected, pid = draw(impatient), impatient.worker_pid
    (orders / "hang for good").touch()
    with pytest.warns(UserWarning, match=r"no sign of life for 3 s and was killed \(.*raise engine\.vllm\.timeout_s\)"):
        again = draw(impatient)
    assert again == expected
    assert impatient.worker_pid != pid
    assert not Path(f"/proc/{pid}").exists()


def test_one_that_hangs_each_time_is_given_up(impatient, orders):
    (orders / "hang").touch()
    with (
        pytest.warns(UserWarning, match="no sign of life") as warned,
        pytest.raises(TruingError, match=r"failed 2 times[\s\S]*no sign of life for 3 s[\s\S]*--resume"),
    ):
        draw(impatient)
    assert len(warned) == 1
    assert impatient.worker_pid is None


def test_one_that_is_slow_but_at_work_is_waited_for(impatient, orders):
    """No completion is finished within the limit, but steps are made."""
    pid = impatient.worker_pid
    (orders / "be slow").touch()
    assert draw(impatient)
    assert impatient.worker_pid == pid


def test_one_that_is_stopped_while_it_is_written_to_is_killed(impatient):
    """A request larger than the pipe's buffer, which nobody reads."""
    os.kill(impatient.worker_pid, signal.SIGSTOP)
    prompts = [[5 + place % 200] * 100 for place in range(300)]
    with pytest.warns(UserWarning, match="no sign of life"):
        drawn = impatient.sample(prompts, samples_per_prompt=1, settings=SETTINGS, seed=0)
    assert len(drawn) == 300


def test_a_start_that_hangs_is_given_up(model, tokenizer, orders):
    (orders / "hang at the start").touch()
    with pytest.raises(TruingError, match=r"did not start.*no sign of life for 1 s[\s\S]*timeout_s"):
        VllmSampler(model, tokenizer, config=VllmConfig(timeout_s=1.0))


def test_progress_never_goes_back(sampler, orders):
    seen = []
    (orders / "die").touch()
    with pytest.warns(UserWarning, match="SIGKILL"):
        draw(sampler, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_killed_between_calls_it_starts_again(sampler, model):
    os.kill(sampler.worker_pid, signal.SIGKILL)
    with pytest.warns(UserWarning, match="SIGKILL"):
        sampler.load_weights(changed(model), 2)
    assert {one.weights_version for group in draw(sampler) for one in group} == {2}


@pytest.mark.parametrize("order", ["fail to load", "keep the cache"])
def test_weights_that_were_not_taken_over_are_never_served(sampler, model, orders, order):
    pid = sampler.worker_pid
    (orders / order).touch()
    with pytest.warns(UserWarning, match="RuntimeError"):
        sampler.load_weights(changed(model), 2)
    assert not is_running(pid)
    renewed = draw(sampler)
    with closing(VllmSampler(model, sampler.tokenizer, config=VllmConfig())) as fresh:
        assert [[one.tokens for one in group] for group in draw(fresh)] == [[one.tokens for one in group] for group in renewed]


def test_after_its_attempts_the_error_says_what_happened_and_how_to_go_on(sampler, orders):
    (orders / "die always").touch()
    with (
        pytest.warns(UserWarning, match="SIGKILL") as warned,
        pytest.raises(TruingError, match=r"failed 3 times[\s\S]*--resume") as error,
    ):
        draw(sampler)
    assert len(warned) == 2  # it is not started again after the last
    assert "vLLM prints where it likes" in str(error.value)  # the end of what it printed
    (orders / "die always").unlink()
    assert draw(sampler)


def test_an_interpreter_without_vllm_is_named(model, tokenizer, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(TruingError, match=r"has no vLLM\. Install truing\[vllm\], or name .* engine\.vllm\.python"):
        make_sampler(EngineConfig(kind="vllm"), model, tokenizer)


def test_an_interpreter_that_is_not_there_is_named(model, tokenizer):
    with pytest.raises(TruingError, match=r"engine\.vllm\.python = '/nowhere/python' cannot be run \(No such file"):
        VllmSampler(model, tokenizer, config=VllmConfig(python="/nowhere/python"))


def test_a_start_that_fails_says_why(model, tokenizer, orders):
    (orders / "no memory").touch()
    with pytest.raises(TruingError, match=r"did not start.*ValueError: no memory for the cache[\s\S]*cache_gib"):
        VllmSampler(model, tokenizer, config=VllmConfig())


def test_a_stale_version_is_refused(model, tokenizer, tmp_path):
    """A worker that takes new weights for done and goes on with the old ones."""
    config = script(
        tmp_path,
        """
for line in sys.stdin:
    ask = json.loads(line)
    version = ask["version"] if ask["do"] == "start" else version
    claimed = ask["version"] if ask["do"] == "load" else 0
    print(json.dumps({"version": claimed, "vllm": "x", "completions": []}), flush=True)
""",
    )
    with closing(VllmSampler(model, tokenizer, config=config)) as sampler:
        sampler.load_weights(model, 1)
        with (
            pytest.warns(UserWarning, match="version 0 of the weights; the current one is 1"),
            pytest.raises(TruingError, match="version 0 of the weights"),
        ):
            draw(sampler)


def test_garbage_among_the_answers_is_refused(model, tokenizer, tmp_path):
    with pytest.raises(TruingError, match="answered 'Hello from a site hook', which is none of its answers"):
        VllmSampler(model, tokenizer, config=script(tmp_path, "print('Hello from a site hook', flush=True); sys.stdin.read()"))


def test_a_worker_that_leaves_at_once_is_told_with_its_last_words(model, tokenizer, tmp_path):
    with pytest.raises(TruingError, match=r"ended by itself with exit code 3\n  \| cannot open libfoo"):
        VllmSampler(model, tokenizer, config=script(tmp_path, "print('cannot open libfoo', file=sys.stderr); sys.exit(3)"))


def test_close_leaves_no_process_and_no_files(model, tokenizer, orders):
    sampler = VllmSampler(model, tokenizer, config=VllmConfig())
    pid, home = sampler.worker_pid, sampler._home
    assert home.stat().st_mode & 0o077 == 0
    assert len(list(home.glob("weights-*"))) == 1
    sampler.load_weights(model, 1)
    assert len(list(home.glob("weights-*"))) == 1
    sampler.close()
    assert not Path(f"/proc/{pid}").exists()
    assert not home.exists()
    sampler.close()


def test_the_worker_ends_with_a_parent_that_is_killed(tiny_model_dir, orders):
    """In the middle of sampling too; the weights go with it."""
    (orders / "hang").touch()
    body = f"""
from truing.models.load import load_policy, load_tokenizer
from truing.rollout.config import VllmConfig
from truing.rollout.sampler import SamplingSettings
from truing.rollout.vllm import VllmSampler
sampler = VllmSampler(load_policy({str(tiny_model_dir)!r}), load_tokenizer({str(tiny_model_dir)!r}), config=VllmConfig())
print(sampler.worker_pid, sampler._home, flush=True)
sampler.sample([[2, 3]], samples_per_prompt=1, settings=SamplingSettings(), seed=0)
"""
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{FAKE}"}
    parent = subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True, env=environment)
    pid, home = parent.stdout.readline().split()
    assert is_running(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_running(pid))
    wait_until(lambda: not Path(home).exists())


def test_bfloat16_weights_are_sent_as_they_are(tokenizer, orders):
    model = make_model(tokenizer).to(torch.bfloat16)
    with closing(VllmSampler(model, tokenizer, config=VllmConfig())) as sampler:
        sent = load_policy(next(sampler._home.glob("weights-*"))).state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(sent[name].to(torch.bfloat16), tensor, rtol=0, atol=0)
