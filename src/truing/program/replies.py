"""The worker behind live chats: takes requests from a collection service, samples, and brings the answers.

    truing collect worker --url http://127.0.0.1:8000 --policy sft=runs/mine/sft --policy ppo=runs/mine/round-1/ppo

It runs in a process of its own, on the machine with the models; the service knows policies by name alone.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from truing.collect.chat.replies import TAKEN_S, ReplyRequest, WrittenReply
from truing.collect.client import Client
from truing.errors import TruingError
from truing.program.recipe import Recipe
from truing.program.speak import Speaker
from truing.records import Message, seed_for
from truing.rollout.sampler import SamplingSettings

IDLE_S = 1.0
"""Between two questions, where nobody waits."""
RENEW_S = TAKEN_S / 4
"""How often the service hears that a batch is still being sampled."""
log = logging.getLogger(__name__)

Respond = Callable[[str, Sequence[Sequence[Message]], int], Sequence[str]]
"""A policy's answers to conversations, drawn with a seed. Raises TruingError where it cannot."""


def serve(client: Client, policies: Sequence[str], respond: Respond, *, wait: Callable[[], bool]) -> int:
    """Answer until `wait`, called whenever nobody asks, says False. Returns how many answers were brought."""
    brought = 0
    while True:
        requests = client.take_replies(policies)
        if requests:
            with _held(client, [request.reply_id for request in requests]):
                for request, written in answers(requests, respond):
                    client.finish_reply(request.reply_id, written)
                    brought += 1
        elif not wait():
            return brought


@contextlib.contextmanager
def _held(client: Client, reply_ids: Sequence[int]) -> Iterator[None]:
    """Keep the service from offering these requests to another worker, however long they take."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_S):
            try:
                client.renew_replies(reply_ids)
            except TruingError as error:
                log.warning("the service does not know that this worker is still at work: %s", error)

    thread = threading.Thread(target=renew, name="truing-renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def answers(requests: Sequence[ReplyRequest], respond: Respond) -> list[tuple[ReplyRequest, WrittenReply]]:
    """Each request with its answer. Those of one policy are sampled together; one whose policy failed says why."""
    written = []
    for policy, group in groupby(sorted(requests, key=attrgetter("policy", "reply_id")), key=attrgetter("policy")):
        of_policy = list(group)
        try:
            texts = respond(policy, [request.messages for request in of_policy], of_policy[0].reply_id)
        except TruingError as error:
            log.warning("%s gave no answer: %s", policy, error)  # a rater is only told to send the message again
            written += [(request, WrittenReply(error=str(error))) for request in of_policy]
            continue
        written += [(request, WrittenReply(text=text)) for request, text in zip(of_policy, texts, strict=True)]
    return written


class Policies:
    """Policies in memory, by name, as `recipe` loads and samples from models, until closed. All are loaded at once, so that one
    that cannot be is known before anybody waits for it: raises TruingError.
    """

    def __init__(self, models: Mapping[str, str], settings: SamplingSettings, seed: int, recipe: Recipe | None = None) -> None:
        self._settings, self._seed = settings, seed
        self._speakers: dict[str, Speaker] = {}
        try:
            for name, model in models.items():
                self._speakers[name] = Speaker.of(model, recipe or Recipe())
        except BaseException:
            self.close()
            raise

    def respond(self, policy: str, conversations: Sequence[Sequence[Message]], number: int) -> list[str]:
        """One answer to each conversation; `number` makes the draw another one each time."""
        seed = seed_for(self._seed, "chat", policy, number)
        groups = self._speakers[policy].answers(conversations, 1, self._settings, seed)
        return [group[0].text for group in groups]

    def close(self) -> None:
        """Give back what they hold."""
        for speaker in self._speakers.values():
            speaker.close()


def pause() -> bool:
    """Wait a moment, and go on."""
    time.sleep(IDLE_S)
    return True


def named(options: Sequence[str]) -> dict[str, str]:
    """`--policy NAME=MODEL` options as a table. Raises TruingError for one that is not of that form, or a name given twice."""
    models: dict[str, str] = {}
    for option in options:
        name, separator, model = option.partition("=")
        if not separator or not name or not model:
            raise TruingError(f"--policy {option!r}: write NAME=MODEL, for example --policy sft=runs/mine/sft")
        if name in models:
            raise TruingError(f"--policy: {name!r} is given twice")
        models[name] = model
    return models
