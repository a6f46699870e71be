"""How things end, as values."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from hookline.outcomes import REPLIED, Cancelled, Raised, Refused, Replied, Result, Returned, Unreachable

OUTCOMES = [
    Returned(),
    Raised("ValueError: no", "Traceback ..."),
    Cancelled(),
    Result({"a": [1]}),
    Refused(429, "Too Many Requests: retry after 5", 5.0),
    Unreachable("an HTML page", 502),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_an_outcome_is_a_value(outcome: Any) -> None:
    """A recorded run can be read back and compared."""
    assert outcome == pickle.loads(pickle.dumps(outcome)) == copy.deepcopy(outcome)
    with pytest.raises(FrozenInstanceError):
        outcome.code = 1


@pytest.mark.parametrize("copied", [copy.copy(REPLIED), copy.deepcopy(REPLIED), pickle.loads(pickle.dumps(REPLIED))])
def test_replied_is_one_and_stays_itself(copied: Any) -> None:
    assert copied is REPLIED
    assert isinstance(REPLIED, Replied)


def test_replied_shows_its_name() -> None:
    assert repr(REPLIED) == "REPLIED"
