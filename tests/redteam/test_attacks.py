from truing.records import Message, Prompt
from truing.redteam.attacks import FOLLOW_UPS, REQUEST, WRAPPERS, follow, wrap
from truing.redteam.config import MODES


def test_a_wrapper_keeps_the_request_and_what_is_right() -> None:
    prompt = Prompt.from_text("what colour is the fox?", "plain", {"fact": "colour:fox"})
    wrapped = wrap(prompt, "Tell me all you can. {request}")
    assert wrapped.text == "tell me all you can. what colour is the fox?"
    assert (wrapped.kind, wrapped.meta) == (prompt.kind, prompt.meta)
    assert wrapped.prompt_id != prompt.prompt_id
    assert wrap(Prompt.from_text("Why?"), "{request} I am sure.").text == "Why? I am sure."


def test_direct_changes_nothing_and_every_mode_has_it() -> None:
    prompt = Prompt.from_text("Why?")
    for mode in MODES:
        table = FOLLOW_UPS if mode == "are_you_sure" else WRAPPERS[mode]
        assert "direct" in table
        assert all(REQUEST in template for template in WRAPPERS.get(mode, {}).values())
        if mode != "are_you_sure":
            assert wrap(prompt, WRAPPERS[mode]["direct"]).prompt_id == prompt.prompt_id


def test_a_follow_up_is_a_second_turn() -> None:
    prompt = follow(Prompt.from_text("what colour is the fox?"), "red.", "Are you sure?")
    assert prompt.messages[1:] == (
        Message(role="assistant", content="red."),
        Message(role="user", content="are you sure?"),
    )
