"""The list of reasons."""

from ioto.errors import REASONS, UpdateError


def test_reasons_are_unique_words():
    assert len(set(REASONS)) == len(REASONS)
    for reason in REASONS:
        assert reason.replace("_", "").islower(), reason


def test_error_says_reason_and_detail():
    error = UpdateError("size_zero", "x")
    assert (error.reason, error.detail, str(error)) == ("size_zero", "x", "size_zero: x")
    assert str(UpdateError("size_zero")) == "size_zero"
