import json

import numpy as np
import pytest
import torch

from explaind.contract.errors import AttachmentMismatch, InvalidDataset, InvalidRequest, UnknownArtifact, WrongModelKind
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import DEMO
from explaind_worker.attachments.owner import AttachmentOwner
from explaind_worker.lenses.checkpoint import packed, unembedding_hash, unpacked
from explaind_worker.lenses.translators import Translators
from explaind_worker.methods.registry import implementation_of
from explaind_worker.models.demo.cases import TASKS, generate_cases
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.session.session import Session
from explaind_worker.stops import Cancelled
from tests.support.families import REPRESENTATIVES
from tests.support.memory_files import KeptFiles

TRAIN, LENS = "train/tuned-lens", "explain/tuned-lens"
TEXTS = [
    "The food was great but the room was small",
    "When Mary and John went to the store, John gave a drink to Mary.",
    "Every fox is red. 3 + 4 = 7.",
    "I don't like it... really! Once upon a time",
    "the staff were rude",
    "12 and 3",
]
SHORT = {"text": TEXTS, "steps": 6, "batch_tokens": 64, "held_out": 0.3, "checks": 2}
PROMPT = "The food was great but"
NO_ID = "art_" + "0" * 26


@pytest.fixture(scope="module")
def trained(run):
    """A lens of the tiny llama, trained: the result, and where it is kept."""
    files = KeptFiles()
    return run(TRAIN, files=files, **SHORT), files


def held(model, **numbers):
    """Files that hold one lens, of these numbers or all zeros; its id."""
    files, anatomy = KeptFiles(), model.anatomy
    shape = (len(anatomy.blocks), anatomy.hidden)
    lens = Translators(torch.zeros((*shape, shape[1])), torch.zeros(shape))
    owner = AttachmentOwner("it", numbers.pop("fingerprint", model.encoder.revision), *shape)
    lens = numbers.pop("lens", lens)
    return files, files.put_artifact("tuned-lens", "x", packed(lens, owner, {}), model="it").id


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_a_trained_lens_beats_the_logit_lens_everywhere_but_at_the_end(run, tiny_model, family):
    result = run(TRAIN, entry=tiny_model(family), **SHORT)
    quality = result.held_out
    assert (quality.streams, quality.layers) == (["resid_pre", "resid_post", "resid_post", "resid_post"], [0, 0, 1, 2])
    assert all(tuned < plain for tuned, plain in zip(quality.tuned_lens[:-1], quality.logit_lens[:-1], strict=True))
    assert quality.tuned_lens[-1] == quality.logit_lens[-1] == 0.0
    assert (quality.texts, result.train_texts, result.finish_reason) == (2, 4, "steps")
    assert result.history.check_steps == [0, 3, 6]
    assert len(result.history.kl) == result.steps == 6
    assert result.history.held_out_kl[-1] == pytest.approx(np.mean(quality.tuned_lens[:-1]))
    assert result.notes == []


def test_on_demo_it_beats_the_logit_lens_on_texts_it_has_not_seen(run):
    texts = [case.prompt + case.answer for task in TASKS for case in generate_cases(task, 12, seed=3, split="train")]
    quality = run(TRAIN, entry=DEMO, text=texts, steps=12, batch_tokens=256, checks=1).held_out
    assert all(tuned < plain for tuned, plain in zip(quality.tuned_lens[:-1], quality.logit_lens[:-1], strict=True))
    assert sum(quality.tuned_lens) < 0.6 * sum(quality.logit_lens)


def test_the_lens_that_comes_with_demo_is_better_on_held_out_cases(run):
    case = generate_cases("indirect_object", 1, seed=5, split="heldout")[0]
    result = run(LENS, entry=DEMO, prompt=case.prompt, target=case.answer, foil=case.foil)
    assert (result.lens.name, result.lens.made_for) == ("tuned", "demo")
    assert result.lens.checked == ["shape", "fingerprint"]
    for tuned, plain in zip(result.streams, result.logit_lens, strict=True):
        assert (tuned.stream, tuned.layers) == (plain.stream, plain.layers)
        ours, theirs = np.mean(tuned.divergence, axis=1), np.mean(plain.divergence, axis=1)
        last = tuned.stream == "resid_post"
        assert (ours[: -1 if last else None] < theirs[: -1 if last else None]).all()
    np.testing.assert_allclose(result.stream("resid_post").divergence[-1], 0.0)


def test_a_lens_of_zeros_is_the_logit_lens_exactly(run, loaded, tiny_model):
    for family in ("llama", "gemma2"):
        files, lens = held(loaded(family))
        asked = {"prompt": PROMPT, "target": " the room", "track": [" the"]}
        tuned = run(LENS, entry=tiny_model(family), files=files, lens=lens, **asked)
        plain = run("explain/logit-lens", entry=tiny_model(family), streams=["resid_pre", "resid_post"], **asked)
        assert tuned.streams == plain.streams
        assert tuned.tracked == plain.tracked
        assert [stream.divergence for stream in tuned.logit_lens] == [stream.divergence for stream in plain.streams]


def test_a_trained_lens_is_read_layer_by_layer(run, loaded, trained):
    """Against plain hidden states, translated by hand."""
    training, files = trained
    model = loaded("llama")
    result = run(LENS, files=files, lens=training.lens.id, prompt=PROMPT, top=3)
    lens = unpacked(files.kept[training.lens.id]).translators
    ids = torch.tensor([model.encoder.tokenizer(PROMPT)["input_ids"]])
    anatomy = model.anatomy
    with torch.no_grad():
        states = model.network(ids, output_hidden_states=True).hidden_states
        final = model.network(ids).logits[0].log_softmax(-1)
        for depth in range(3):
            h = states[depth][0]
            h = h + h @ lens.weights[depth].T + lens.biases[depth]
            logprobs = anatomy.unembedding(anatomy.final_norm(h)).log_softmax(-1)
            stream, place = (result.stream("resid_pre"), 0) if depth == 0 else (result.stream("resid_post"), depth - 1)
            np.testing.assert_allclose(stream.divergence[place], (final.exp() * (final - logprobs)).sum(-1), atol=1e-4)
            np.testing.assert_array_equal(stream.top_ids[place], logprobs.topk(3).indices)
    assert result.lens.trained_steps == 6


def test_a_lens_of_another_model_is_refused(run, loaded, tiny_model, trained):
    training, files = trained
    with pytest.raises(AttachmentMismatch, match="'tiny-llama' and not for 'tiny-mistral'"):
        run(LENS, entry=tiny_model("mistral"), files=files, lens=training.lens.id, prompt=PROMPT)
    files, lens = held(loaded("llama"), fingerprint="sha256:of-another")
    with pytest.raises(AttachmentMismatch, match="sha256:of-another"):
        run(LENS, files=files, lens=lens, prompt=PROMPT)


def test_a_lens_is_refused_before_the_weights_are_touched(tiny_model, trained):
    training, files = trained
    pool, entry, method = ModelPool(), tiny_model("mistral"), find_method(LENS)
    request = method.params_model.model_validate({"model": entry.name, "prompt": PROMPT, "lens": training.lens.id})
    with Session(entry, pool, lambda *_: None, files=files) as session, pytest.raises(AttachmentMismatch):
        implementation_of(method)(request, session)
    assert pool.resident() == []


def test_a_random_lens_is_worse_than_the_logit_lens(run, loaded):
    model = loaded("llama")
    torch.manual_seed(0)
    files, lens = held(model, lens=Translators(3 * torch.randn(3, 64, 64), torch.randn(3, 64)))
    result = run(LENS, files=files, lens=lens, prompt=PROMPT)
    means = [np.mean(stream.divergence) for stream in (*result.streams, *result.logit_lens)]
    assert means[0] + means[1] > means[2] + means[3]


def test_what_names_no_lens_is_refused(run, tiny_model, tmp_path):
    with pytest.raises(UnknownArtifact):
        run(LENS, lens=NO_ID, prompt=PROMPT)
    with pytest.raises(InvalidRequest, match="no tuned lens of its own"):
        run(LENS, prompt=PROMPT)
    with pytest.raises(InvalidRequest, match="no tuned lens called 'pile'"):
        run(LENS, lens="pile", prompt=PROMPT)
    files = KeptFiles()
    files.kept[NO_ID] = b"no lens at all"
    with pytest.raises(InvalidRequest, match=f"{NO_ID}: The lens could not be read"):
        run(LENS, files=files, lens=NO_ID, prompt=PROMPT)


def test_a_lens_file_that_is_cut_off_or_gone_is_named(run, tiny_model, trained, tmp_path):
    training, files = trained
    data, place = files.kept[training.lens.id], tmp_path / "mine.safetensors"
    entry = tiny_model("llama", lenses={"mine": place})
    place.write_bytes(data)
    assert run(LENS, entry=entry, prompt=PROMPT).lens.name == "mine"
    for length in (len(data) - 1, len(data) // 2, 100, 3):
        place.write_bytes(data[:length])
        with pytest.raises(InvalidRequest, match="mine: The lens could not be read: it is cut off") as caught:
            run(LENS, entry=entry, prompt=PROMPT)
        assert "GET /models" in str(caught.value.hint)
        assert caught.value.errors[0].pointer == "/lens"
    place.unlink()
    with pytest.raises(InvalidRequest, match="mine: The tuned lens of tiny-llama cannot be read") as caught:
        run(LENS, entry=entry, prompt=PROMPT)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(InvalidRequest, match="Did you mean 'mine'"):
        run(LENS, entry=entry, lens="mien", prompt=PROMPT)


def test_a_published_lens_of_models_toml_is_read_and_what_was_not_checked_is_said(run, loaded, tiny_model, tmp_path):
    model = loaded("llama")
    layers = torch.nn.ModuleList(torch.nn.Linear(64, 64) for _ in range(3))
    torch.save(layers.state_dict(), tmp_path / "params.pt")
    config = {"base_model_name_or_path": "org/llama", "d_model": 64, "num_hidden_layers": 3, "bias": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    entry = tiny_model("llama", lenses={"pile": tmp_path})
    result = run(LENS, entry=entry, prompt=PROMPT)
    assert (result.lens.name, result.lens.form, result.lens.checked) == ("pile", "tuned-lens", ["shape"])
    assert "name and revision and unembedding could not be compared" in result.notes[0]
    weight = model.anatomy.unembedding.weight
    (tmp_path / "config.json").write_text(json.dumps(config | {"unembed_hash": unembedding_hash(weight)}))
    assert run(LENS, entry=entry, prompt=PROMPT).lens.checked == ["shape", "unembedding"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"unembed_hash": "0" * 64}))
    with pytest.raises(AttachmentMismatch, match="unembedding"):
        run(LENS, entry=entry, prompt=PROMPT)


def test_the_same_request_makes_the_same_lens(run, trained):
    files = KeptFiles()
    again = run(TRAIN, files=files, **SHORT)
    assert files.kept[again.lens.id] == trained[1].kept[trained[0].lens.id]
    assert run(TRAIN, files=files, **{**SHORT, "seed": 1}).history != again.history


def test_patience_keeps_the_best_lens_of_all(run):
    result = run(TRAIN, **{**SHORT, "steps": 8, "checks": 8, "patience": 1, "learning_rate": 100.0})
    history = result.history
    assert result.steps == history.check_steps[int(np.argmin(history.held_out_kl[1:])) + 1]
    assert "chosen by the held-out texts" in " ".join(result.notes)
    assert result.finish_reason in {"patience", "steps"}
    if result.finish_reason == "patience":
        assert len(history.kl) < 8


def test_a_cancelled_training_keeps_the_lens_of_the_last_check(tiny_model, pool):
    files, entry, method = KeptFiles(), tiny_model("llama"), find_method(TRAIN)
    request = method.params_model.model_validate({"model": entry.name, **SHORT})
    seen = []

    def cancel_late(phase, done, total, unit):
        seen.append((phase, done, total, unit))
        if phase == "training" and done == 5:
            raise Cancelled("job_1")

    with Session(entry, pool, cancel_late, files=files) as session:
        with pytest.raises(Cancelled):
            implementation_of(method)(request, session)
        part = session.job.make_partial_result()
    assert (part.finish_reason, part.steps, len(part.history.kl)) == ("cancelled", 3, 5)
    assert unpacked(files.kept[part.lens.id]).facts["steps"] == "3"
    assert [unit for phase, *_, unit in seen if phase == "training"][1].startswith("steps, KL ")


def test_cancelled_before_any_check_there_is_nothing_to_keep(tiny_model, pool):
    files, entry, method = KeptFiles(), tiny_model("llama"), find_method(TRAIN)
    request = method.params_model.model_validate({"model": entry.name, **SHORT})

    def cancel(phase, *_):
        if phase == "training":
            raise Cancelled("job_1")

    with Session(entry, pool, cancel, files=files) as session:
        with pytest.raises(Cancelled):
            implementation_of(method)(request, session)
        assert session.job.make_partial_result is None
    assert files.kept == {}


def test_texts_of_a_dataset_are_read_once_each(run):
    rows = [{"story": text, "n": 1} for text in [*TEXTS, TEXTS[0], "", None]]
    asked = {**SHORT, "text": {"dataset": "ds_" + "0" * 26, "column": "story"}}
    result = run(TRAIN, files=KeptFiles(rows), **asked)
    assert result.train_texts + result.held_out.texts == len(TEXTS)
    assert result.notes == ["1 texts were equal to another and count once."]
    inline = run(TRAIN, **SHORT)
    assert inline.history == result.history
    with pytest.raises(InvalidDataset, match="no column 'text': it has 'story', 'n'"):
        run(TRAIN, files=KeptFiles(rows), **{**asked, "text": {"dataset": "ds_" + "0" * 26}})


def test_too_little_text_is_refused(run):
    with pytest.raises(InvalidRequest, match="one piece of text"):
        run(TRAIN, text=[TEXTS[0]])
    one = run(TRAIN, text=[TEXTS[1]], max_length=4, steps=1, checks=1)
    assert "its end was held out" in one.notes[0]


def test_a_classifier_has_no_lens(run, tiny_classifier):
    for path, params in ((TRAIN, SHORT), (LENS, {"prompt": PROMPT})):
        with pytest.raises(WrongModelKind):
            run(path, entry=tiny_classifier("bert"), **params)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_an_estimate_counts_what_happens_and_keeps_nothing(tiny_model, pool, loaded, family):
    entry = tiny_model(family)
    files, lens = held(loaded(family))
    for path, params in ((TRAIN, SHORT), (LENS, {"prompt": PROMPT, "lens": lens})):
        meters = []
        for estimating in (True, False):
            method = find_method(f"estimate/{path}" if estimating else path)
            request = method.params_model.model_validate({"model": entry.name, **params})
            with Session(entry, pool, lambda *_: None, files=files) as session:
                result = implementation_of(method)(request, session)
                meters.append(result if estimating else session.job.meter)
            assert len(files.kept) == 1 + (path == TRAIN and not estimating) or path == LENS
        said, meter = meters
        assert (said.forwards, said.tokens_evaluated) == (meter.forwards, meter.tokens_evaluated)
        assert said.fits
