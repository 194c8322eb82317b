"""What tests of flows from Python share."""

import pytest

from pipeline.evaluation.size import EvaluationSize
from sjko import Flow


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures on few samples: the full ones take seconds."""
    monkeypatch.setattr(Flow, "_size", lambda self, k: EvaluationSize(50, 1))
