import numpy as np
import pytest
import torch

from explaind.contract.blocks.lens import STREAMS
from explaind.contract.errors import InvalidRequest, InvalidTarget, NonFiniteScore, RequestTooLarge, WrongModelKind
from explaind_jobs.catalogue import DEMO
from explaind_worker.lenses import query, readout
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.session.session import Session
from tests.support.families import REPRESENTATIVES

PROMPT = "The food was great but"
LENS = "explain/logit-lens"


def plain_streams(model, ids):
    """Every stream by plain hooks on the modules, [layer, position, hidden] each, in the model's own type."""
    seen = {}

    def keep(name):
        def hook(_module, _args, output):
            seen[name] = output if torch.is_tensor(output) else output[0]

        return hook

    handles = []
    for layer, block in enumerate(model.anatomy.blocks):
        handles.append(block.attention_write.register_forward_hook(keep(("attn_out", layer))))
        handles.append(block.mlp_write.register_forward_hook(keep(("mlp_out", layer))))
        handles.append(block.module.register_forward_hook(keep(("resid_post", layer))))
    try:
        with torch.no_grad():
            output = model.network(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    layers = range(len(model.anatomy.blocks))
    streams = {
        name: torch.stack([seen[name, layer][0] for layer in layers]) for name in ("attn_out", "mlp_out", "resid_post")
    }
    entering = torch.stack([state[0] for state in output.hidden_states[:-1]])
    for layer in layers[:-1]:
        torch.testing.assert_close(streams["resid_post"][layer], entering[layer + 1])
    streams["resid_mid"] = entering + streams["attn_out"]
    streams["resid_pre"] = entering[:1]
    return streams, output.logits[0].double().log_softmax(-1)


@torch.no_grad()
def logprobs_of(model, rows):
    anatomy = model.anatomy
    return anatomy.final_logits(anatomy.unembedding(anatomy.final_norm(rows))).double().log_softmax(-1)


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_every_stream_is_what_plain_hooks_decode(run, loaded, tiny_model, family):
    model = loaded(family)
    result = run(LENS, entry=tiny_model(family), prompt=PROMPT, target=" the room", track=[" the"], top=4)
    ids = list(model.encoder.tokenizer(PROMPT)["input_ids"])
    target = [token.token_id for token in result.tracked if token.role == "target"]
    streams, final = plain_streams(model, [*ids, *target][:-1])
    assert [stream.stream for stream in result.streams] == list(STREAMS)
    assert result.positions.index == list(range(len(ids) + len(target) - 1))
    for number, stream in enumerate(result.streams):
        logprobs = logprobs_of(model, streams[stream.stream])
        best = logprobs.topk(4, dim=-1)
        np.testing.assert_allclose(stream.top_probabilities, best.values.exp(), atol=1e-5)
        np.testing.assert_array_equal(stream.top_ids, best.indices)
        np.testing.assert_allclose(stream.entropy, -(logprobs.exp() * logprobs).sum(-1), atol=1e-4)
        np.testing.assert_allclose(stream.divergence, (final.exp() * (final - logprobs)).sum(-1), atol=1e-4)
        wins = best.indices[..., 0] == final.argmax(-1)
        np.testing.assert_allclose(stream.agreement, wins.double().mean(-1))
        for token in result.tracked:
            own = logprobs[:, token.positions, token.token_id]
            found = token.streams[number]
            np.testing.assert_allclose(found.logprobs, own, atol=5e-5)
            np.testing.assert_allclose(found.probabilities, own.exp(), atol=1e-5)
            np.testing.assert_array_equal(found.ranks, (logprobs[:, token.positions] > own[..., None]).sum(-1))


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_the_last_block_is_the_model_itself(run, loaded, tiny_model, family):
    result = run(LENS, entry=tiny_model(family), prompt=PROMPT, streams=["resid_post"], top=3)
    model = loaded(family)
    with torch.no_grad():
        logits = model.network(torch.tensor([result.positions.token_id])).logits[0].double()
    last = result.stream("resid_post")
    np.testing.assert_array_equal(last.top_ids[-1], logits.topk(3).indices)
    np.testing.assert_allclose(last.top_probabilities[-1], logits.softmax(-1).topk(3).values, atol=1e-5)
    assert max(last.divergence[-1]) == 0.0
    assert last.agreement[-1] == 1.0
    assert max(last.divergence[0]) > 0.1, "the control: an earlier layer says something else"


def test_the_next_token_is_followed_where_no_target_is_given(run):
    result = run(LENS, prompt=PROMPT, foil={"token_ids": [9]}, last=2)
    said, foil = result.tracked
    assert (said.role, foil.role, foil.token_id) == ("target", "foil", 9)
    assert said.token_id == result.stream("resid_post").top_ids[-1][-1][0]
    assert said.positions == foil.positions == [1]
    assert said.streams[-1].ranks[-1] == [0]
    assert result.target is None


def test_target_tokens_are_followed_where_they_are_predicted(run, loaded):
    result = run(LENS, prompt=PROMPT, target=" the room", positions=[0, -1], track=[" the", 12])
    prompt = len(loaded("llama").encoder.tokenizer(PROMPT)["input_ids"])
    followed = [token for token in result.tracked if token.role == "target"]
    assert "".join(token.text for token in followed) == " the room" == result.target
    at = [[result.positions.index[p] for p in token.positions] for token in followed]
    assert at == [[prompt - 1 + place] for place in range(len(followed))]
    assert [token.positions for token in result.tracked if token.role == "given"] == [
        list(range(len(result.positions.index)))
    ] * 2
    assert result.positions.index[0] == 0
    assert result.positions.special[0]
    assert result.positions.in_target == [False, False, *[True] * (len(followed) - 1)]
    assert "".join(result.positions.text[2:]) + followed[-1].text == " the room"


def test_a_generated_target_is_what_the_model_says(run):
    said = run("infer/generate", prompt=PROMPT, max_new_tokens=3)
    result = run(LENS, prompt=PROMPT, target={"generate": {"max_new_tokens": 3}}, streams=["resid_post"])
    assert [token.token_id for token in result.tracked] == [token.id for token in said.tokens]
    assert [token.streams[0].ranks[-1] for token in result.tracked] == [[0]] * len(said.tokens)
    expected = pytest.approx([token.logprob for token in said.tokens], abs=1e-4)
    assert [token.streams[0].logprobs[-1][0] for token in result.tracked] == expected


def test_a_foil_is_followed_where_it_parts_from_the_target(run):
    result = run(LENS, prompt=PROMPT, target={"token_ids": [20, 21, 22]}, foil={"token_ids": [20, 30, 40]}, last=1)
    foil = result.tracked[-1]
    assert (foil.role, foil.token_id, foil.positions) == ("foil", 30, [1])


def test_chosen_layers_and_positions_are_parts_of_the_whole(run):
    whole = run(LENS, prompt=PROMPT)
    part = run(LENS, prompt=PROMPT, layers=[-1, 0], positions=[1, -2], streams=["mlp_out", "resid_post"])
    assert [stream.stream for stream in part.streams] == ["mlp_out", "resid_post"]
    assert [stream.layers for stream in part.streams] == [[0, 2], [0, 2]]
    columns = [whole.positions.index.index(index) for index in part.positions.index]
    assert part.positions.index[0] == 1
    for stream in part.streams:
        rows = np.array(whole.stream(stream.stream).divergence)
        np.testing.assert_allclose(stream.divergence, rows[np.ix_(stream.layers, columns)], atol=1e-5)


def test_the_model_itself_is_there_whatever_is_chosen(run):
    result = run(LENS, prompt=PROMPT, streams=["attn_out"], layers=[0])
    assert [(stream.stream, stream.layers) for stream in result.streams] == [("attn_out", [0]), ("resid_post", [2])]


def test_first_and_settled_layers_are_read_off_the_top_tokens(run):
    result = run(LENS, prompt=PROMPT + " the room was small and the staff were rude", streams=["resid_post"], top=1)
    block = result.stream("resid_post")
    wins = np.array(block.top_ids)[..., 0] == np.array(block.top_ids)[-1, :, 0]
    for column in range(wins.shape[1]):
        assert block.first_layer[column] == int(wins[:, column].argmax())
        settled = block.settled_layer[column]
        assert wins[settled:, column].all()
        assert settled == 0 or not wins[settled - 1, column]


def test_positions_in_groups_are_the_same_positions(run, monkeypatch):
    asked = {"prompt": PROMPT, "target": " the room", "track": [9]}
    whole = run(LENS, **asked)
    monkeypatch.setattr(readout, "MOST_BYTES", 3 * 13 * 64 * 4)  # three positions of 13 readings
    parts = run(LENS, **asked)
    assert parts.positions == whole.positions
    assert parts.tokens == whole.tokens
    for one, other in zip(parts.streams, whole.streams, strict=True):
        assert one.top_ids == other.top_ids
        np.testing.assert_allclose(one.divergence, other.divergence, atol=1e-5)


def test_messages_are_read_as_the_template_writes_them(run):
    result = run(LENS, messages=[{"role": "user", "content": PROMPT}], streams=["resid_post"])
    assert result.positions.template[0]
    assert result.positions.template[-1]
    assert not all(result.positions.template)
    assert "".join(result.positions.text) == result.prompt


@pytest.mark.parametrize(
    ("params", "pointer", "error"),
    [
        ({"layers": [0, 3]}, "/layers/1", InvalidRequest),
        ({"positions": [0, -99]}, "/positions/1", InvalidRequest),
        ({"track": ["great food"]}, "/track/0", InvalidTarget),
        ({"track": [5, 100_000]}, "/track/1", InvalidTarget),
        ({"target": " the", "foil": " the"}, "/foil", InvalidTarget),
        ({"target": {"token_ids": [10**6]}}, "/target/token_ids/0", InvalidTarget),
    ],
)
def test_what_cannot_be_read_is_refused_before_the_weights(tiny_model, params, pointer, error):
    from explaind.contract.registry import find_method
    from explaind_worker.runtime.runner import implementation_of

    entry, pool, method = tiny_model("llama"), ModelPool(), find_method(LENS)
    request = method.params_model.model_validate({"model": entry.name, "prompt": PROMPT, **params})
    with Session(entry, pool, lambda *_: None) as session, pytest.raises(error) as caught:
        implementation_of(method)(request, session)
    assert [field.pointer for field in caught.value.errors] == [pointer]
    assert pool.resident() == []


def test_a_result_that_would_be_too_large_is_refused(run, monkeypatch):
    monkeypatch.setattr(query, "MOST_TOKENS", 13 * 5 * 4)
    run(LENS, prompt=PROMPT, last=4)
    with pytest.raises(RequestTooLarge, match="last 4 positions"):
        run(LENS, prompt=PROMPT, last=5)
    with pytest.raises(RequestTooLarge):
        run(LENS, prompt=PROMPT, last=1, target={"generate": {"max_new_tokens": 4}})


def test_a_classifier_has_no_lens(run, tiny_classifier):
    with pytest.raises(WrongModelKind):
        run(LENS, entry=tiny_classifier("bert"), prompt=PROMPT)


def test_numbers_that_are_not_finite_are_an_error(run, loaded, monkeypatch):
    weight = loaded("llama").anatomy.blocks[1].mlp_write.down_proj.weight
    before = weight.data[0, 0].clone()
    weight.data[0, 0] = float("nan")
    try:
        with pytest.raises(NonFiniteScore):
            run(LENS, prompt=PROMPT)
    finally:
        weight.data[0, 0] = before
    run(LENS, prompt=PROMPT)


def test_the_demo_model_moves_from_the_subject_to_the_indirect_object(run):
    """It copies names: the wrong one is ahead in the middle of the stack, the last layer turns to the right one."""
    result = run(
        LENS,
        entry=DEMO,
        prompt="When Mary and John went to the store, John gave a drink to",
        target=" Mary",
        foil=" John",
        last=1,
    )
    block = next(i for i, stream in enumerate(result.streams) if stream.stream == "resid_post")
    mary, john = (token.streams[block] for token in result.tracked)
    assert john.ranks[1][0] < mary.ranks[1][0]
    assert mary.ranks[-1] == [0]
    assert result.streams[block].settled_layer == [3]
