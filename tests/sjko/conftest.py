"""What tests of flows from Python share."""

import pytest

from pipeline.evaluation.size import Evaluation, EvaluationSize
from sjko import versions
from sjko.fitted import Fitted


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures on few samples: the full ones take seconds."""
    monkeypatch.setattr(Fitted, "_size", lambda self, bound, k: EvaluationSize(50, 1))
    monkeypatch.setattr(versions, "FULL", EvaluationSize(50, 1))
    monkeypatch.setattr(versions, "Evaluation", lambda: Evaluation(50, 1, num_samples_between=50))
