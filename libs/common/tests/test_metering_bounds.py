"""What a provider says that a call cost is believed within bounds."""

import pytest

from docuchat_common.metering import TokenBounds, bounded


@pytest.mark.parametrize(
    ("reported", "counted", "reason"),
    [
        (15, 15, None),
        (60, 15, None),
        (124, 15, None),
        (125, 15, "too_high"),
        (10**15, 15, "too_high"),
        (10**400, 15, "too_high"),
        (400, 1000, None),
        (100, 1000, "too_low"),
        (0, 3, "too_low"),
        (0, 0, None),
        (-1, 15, "malformed"),
        (15.5, 15, "malformed"),
        (float("nan"), 15, "malformed"),
        (True, 15, "malformed"),
        ("15", 15, "malformed"),
        ([15], 15, "malformed"),
    ],
)
def test_a_figure_is_believed_within_its_bounds_only(reported: object, counted: int, reason: str | None) -> None:
    result = bounded(reported, counted, TokenBounds(), "input_tokens")
    if reason is None:
        assert (result.tokens, result.estimated, result.anomaly) == (reported, False, None)
    else:
        assert (result.tokens, result.estimated) == (counted, True)
        assert result.anomaly is not None
        assert result.anomaly.reason == reason
        assert len(result.anomaly.reported) <= 20


def test_a_figure_that_is_missing_is_estimated_and_no_anomaly() -> None:
    result = bounded(None, 15, TokenBounds(), "output_tokens")
    assert (result.tokens, result.estimated, result.anomaly) == (15, True, None)


def test_a_model_may_bill_what_it_does_not_show_up_to_what_it_was_allowed() -> None:
    assert bounded(900, 10, TokenBounds(), "output_tokens", allowed=1000).tokens == 900
    assert bounded(1001, 10, TokenBounds(), "output_tokens", allowed=1000).tokens == 10
