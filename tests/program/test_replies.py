"""The worker: policies by name, one batch a policy, failures told, the embedded model answering."""

from __future__ import annotations

import pytest

from truing.collect.chat.replies import ReplyRequest, WrittenReply
from truing.errors import TruingError
from truing.program.replies import Policies, answers, named, serve
from truing.records import Message
from truing.rollout.sampler import SamplingSettings


def request(number, policy):
    return ReplyRequest(reply_id=number, policy=policy, messages=(Message(role="user", content=f"Question {number}"),))


def test_requests_of_a_policy_are_sampled_together_and_a_failure_is_told(caplog):
    batches = []

    def respond(policy, conversations, number):
        batches.append((policy, len(conversations), number))
        if policy == "broken":
            raise TruingError("no such model")
        return [f"{policy}: {messages[0].content}" for messages in conversations]

    done = answers([request(1, "b"), request(2, "broken"), request(3, "b")], respond)
    assert batches == [("b", 2, 1), ("broken", 1, 2)]
    assert [(r.reply_id, w) for r, w in done] == [
        (1, WrittenReply(text="b: Question 1")),
        (3, WrittenReply(text="b: Question 3")),
        (2, WrittenReply(error="no such model")),
    ]
    assert caplog.messages == ["broken gave no answer: no such model"]


def test_it_serves_until_told_to_stop():
    class Service:
        def __init__(self):
            self.waiting, self.brought = [(request(1, "a"),), (), (request(2, "a"),), ()], []

        def take_replies(self, policies):
            return self.waiting.pop(0)

        def finish_reply(self, reply_id, written):
            self.brought.append((reply_id, written.text))

    service = Service()
    goes_on = iter((True, False))
    brought = serve(service, ("a",), lambda policy, conversations, number: ["yes"], wait=lambda: next(goes_on))
    assert (brought, service.brought) == (2, [(1, "yes"), (2, "yes")])


def test_policies_are_given_as_name_and_model():
    assert named(["sft=runs/a=b", "ppo=embedded"]) == {"sft": "runs/a=b", "ppo": "embedded"}
    for wrong in (["sft"], ["=x"], ["sft="], ["sft=a", "sft=b"]):
        with pytest.raises(TruingError, match="--policy"):
            named(wrong)


def test_a_policy_that_cannot_be_loaded_is_refused_before_anybody_asks(tmp_path):
    with pytest.raises(TruingError, match="nowhere"):
        Policies({"base": "embedded", "lost": str(tmp_path / "nowhere")}, SamplingSettings(), seed=0)


def test_the_embedded_model_answers_and_equal_requests_get_equal_answers():
    policies = Policies({"base": "embedded"}, SamplingSettings(max_new_tokens=8), seed=0)
    messages = (Message(role="user", content="Where is the cat?"),)
    first = policies.respond("base", [messages, messages], 1)
    assert len(first) == 2
    assert all(isinstance(text, str) for text in first)
    assert policies.respond("base", [messages, messages], 1) == first
