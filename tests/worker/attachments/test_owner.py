"""An attachment is held to the model it was made for; both are named where they differ."""

import pytest

from explaind.contract.errors import AttachmentMismatch, error_from
from explaind_jobs.catalogue import ATTACHMENT_KINDS, DEMO
from explaind_worker.attachments.owner import AttachmentOwner, OwnerCheck

CHECK = OwnerCheck(noun="adapter", pointer="/adapter", remedy="Train one.")
MODEL = AttachmentOwner("mine", "sha256:abc", 3, 8, source="org/small", revision="c" * 40)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (AttachmentOwner("other", "sha256:def", 3, 8), "its fingerprint is sha256:def, and that of mine is sha256:abc"),
        (AttachmentOwner("other", "sha256:abc", 4, 8), "it is of 4 layers of 8, and mine has 3 layers of 8"),
        (AttachmentOwner("other", None, 3, 8), "its fingerprint is None"),
    ],
)
def test_what_was_made_here_must_have_the_fingerprint(other, why):
    with pytest.raises(AttachmentMismatch) as refused:
        CHECK.ours(other, MODEL)
    error = refused.value
    assert error.detail.startswith("The adapter was made for 'other' and not for 'mine': ")
    assert why in error.detail
    assert (error.errors[0].pointer, error.code) == ("/adapter", "attachment_mismatch")
    assert str(error.hint) == "It is of no use to another model. Train one."
    assert type(error_from(error.problem())) is AttachmentMismatch


def test_what_was_published_is_compared_where_both_sides_know():
    plain = AttachmentOwner("small", None, 3, 8)
    hub = AttachmentOwner("small", None, 3, 8, source="elsewhere/Small", revision="c" * 40)
    assert CHECK.ours(MODEL, MODEL) == ["shape", "fingerprint"]
    assert CHECK.published(plain, MODEL) == ["shape"]
    assert CHECK.published(hub, MODEL) == ["shape", "name", "revision"]
    with pytest.raises(AttachmentMismatch, match="revision"):
        CHECK.published(AttachmentOwner("small", None, 3, 8, revision="d" * 40), MODEL)


def test_the_kinds_of_the_catalogue_are_those_of_the_card():
    assert DEMO.card().attachments == {table: DEMO.attachment_names(kind) for table, kind in ATTACHMENT_KINDS.items()}
    assert all(table == kind.table for table, kind in ATTACHMENT_KINDS.items())
