import json

import pytest
import torch

from explaind.contract.errors import AttachmentMismatch, InvalidRequest
from explaind_worker.attachments.owner import AttachmentOwner
from explaind_worker.lenses.checkpoint import (
    check_owner,
    check_unembedding,
    packed,
    published,
    unembedding_hash,
    unpacked,
)
from explaind_worker.lenses.translators import Translators

OURS = AttachmentOwner("mine", "sha256:abc", 3, 8)
HUB = AttachmentOwner("small", "c" * 40, 3, 8, source="org/GPT2", revision="c" * 40)


@pytest.fixture
def lens():
    torch.manual_seed(0)
    return Translators(torch.randn(3, 8, 8), torch.randn(3, 8))


@pytest.fixture
def checkpoint(tmp_path):
    """A directory as the tuned-lens project writes it: the state of a list of linear layers beside its config."""

    def write(*, bias=True, **changed):
        torch.manual_seed(1)
        layers = torch.nn.ModuleList(torch.nn.Linear(8, 8, bias=bias) for _ in range(3))
        torch.save(layers.state_dict(), tmp_path / "params.pt")
        config = {
            "base_model_name_or_path": "gpt2",
            "d_model": 8,
            "num_hidden_layers": 3,
            "bias": bias,
            "base_model_revision": "main",
            "unembed_hash": None,
            "lens_type": "linear_tuned_lens",
        }
        (tmp_path / "config.json").write_text(json.dumps(config | changed))
        return tmp_path, layers

    return write


def test_a_lens_comes_back_as_it_went(lens):
    found = unpacked(packed(lens, OURS, {"steps": "7"}))
    assert torch.equal(found.translators.weights, lens.weights)
    assert torch.equal(found.translators.biases, lens.biases)
    assert (found.owner, found.facts, found.published) == (OURS, {"steps": "7"}, False)
    assert check_owner(found, OURS) == ["shape", "fingerprint"]


def test_a_lens_of_another_model_is_refused_and_both_are_named(lens):
    found = unpacked(packed(lens, OURS, {}))
    with pytest.raises(AttachmentMismatch) as refused:
        check_owner(found, AttachmentOwner("other", "sha256:def", 3, 8))
    said = str(refused.value)
    assert all(part in said for part in ("'mine'", "'other'", "sha256:abc", "sha256:def"))
    assert refused.value.errors[0].pointer == "/lens"
    with pytest.raises(AttachmentMismatch, match="sha256:def"):
        check_owner(found, AttachmentOwner("mine", "sha256:def", 3, 8))  # other weights under the same name
    with pytest.raises(AttachmentMismatch, match="3 layers of 8, and wide has 3 layers of 16"):
        check_owner(found, AttachmentOwner("wide", "sha256:abc", 3, 16))


@pytest.mark.parametrize(
    "data", [b"", b"12345678", b"\xff" * 20, (2).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"]
)
def test_what_is_no_lens_is_refused(data):
    with pytest.raises(InvalidRequest, match="lens"):
        unpacked(data)


def test_numbers_that_are_not_what_the_header_says_are_refused(lens):
    with pytest.raises(InvalidRequest, match="3 layers of 9"):
        unpacked(packed(lens, AttachmentOwner("mine", None, 3, 9), {}))
    broken = Translators(lens.weights.clone().fill_(float("nan")), lens.biases)
    with pytest.raises(InvalidRequest, match="not finite"):
        unpacked(packed(broken, OURS, {}))


@pytest.mark.parametrize("bias", [True, False])
def test_a_published_checkpoint_is_read_layer_by_layer(checkpoint, bias):
    folder, layers = checkpoint(bias=bias)
    found = published(folder)
    rows = torch.randn(5, 8)
    for depth, layer in enumerate(layers):
        torch.testing.assert_close(found.translators(depth, rows), rows + layer(rows))
    assert found.translators(3, rows) is rows
    assert check_owner(found, HUB) == ["shape", "name"]


def test_a_published_checkpoint_of_another_model_is_refused(checkpoint):
    with pytest.raises(AttachmentMismatch, match="org/other"):
        check_owner(published(checkpoint()[0]), AttachmentOwner("small", "c" * 40, 3, 8, source="org/other"))
    with pytest.raises(AttachmentMismatch, match="3 layers of 8"):
        check_owner(published(checkpoint()[0]), AttachmentOwner("small", None, 4, 8))
    with pytest.raises(AttachmentMismatch, match="revision"):
        check_owner(published(checkpoint(base_model_revision="d" * 40)[0]), HUB)
    assert check_owner(published(checkpoint(base_model_revision="c" * 40)[0]), HUB) == ["shape", "name", "revision"]
    assert check_owner(published(checkpoint()[0]), AttachmentOwner("folder", None, 3, 8)) == ["shape"]


def test_other_kinds_of_lenses_are_refused(checkpoint):
    with pytest.raises(InvalidRequest, match="of the kind"):
        published(checkpoint(lens_type="low_rank")[0])
    folder, _ = checkpoint()
    (folder / "params.pt").write_bytes(b"no pickle")
    with pytest.raises(InvalidRequest, match="could not be read"):
        published(folder)


def test_code_in_a_checkpoint_is_not_run(checkpoint, tmp_path):
    folder, _ = checkpoint()
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (marker.touch, ())

    torch.save({"0.weight": Evil()}, folder / "params.pt")
    with pytest.raises(InvalidRequest, match="could not be read"):
        published(folder)
    assert not marker.exists()


def test_an_unembedding_is_known_by_its_hash(checkpoint):
    weight = torch.randn(2000, 8, generator=torch.manual_seed(2))
    folder, _ = checkpoint(unembed_hash=unembedding_hash(weight))
    found = published(folder)
    assert check_unembedding(found, HUB, weight)
    assert check_unembedding(found, HUB, weight.double())
    assert not check_unembedding(found, HUB, None)
    assert not check_unembedding(published(checkpoint()[0]), HUB, weight)
    found = published(checkpoint(unembed_hash=unembedding_hash(weight))[0])
    with pytest.raises(AttachmentMismatch, match="unembedding"):
        check_unembedding(found, HUB, weight + 1.0)
