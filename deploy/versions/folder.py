"""The folder of a version: our own files, a card, a picture, and a model of MLflow's that loads without this project."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from deploy.export import export
from deploy.flavour import sjko_sampler
from deploy.versions import bundle
from deploy.versions.bundle import Lineage
from pipeline.generator import Generator
from pipeline.provenance import versions

REQUIREMENTS = ("mlflow", "torch", "numpy")


def write_folder(folder: Path, card: str, generator: Generator, metrics: Mapping[str, float], lineage: Lineage) -> None:
    """Write all files of a version: MLflow's model, the card, a picture of samples, and our own part."""
    _write_flavour(folder, generator)
    (folder / "README.md").write_text(card)
    bundle.picture(folder / "samples.png", generator)
    bundle.write(folder, generator, metrics, lineage)


def _write_flavour(folder: Path, generator: Generator) -> None:
    """Write a model of MLflow's that loads where this project is not installed: an exported graph, and the file that feeds it.

    It has no input signature, since MLflow would then refuse all but float32 arrays before that file sees them.
    """
    pinned, example = versions(), bundle.example_of(generator)
    model = Model(metadata={"sjko.fingerprint": generator.phase.fingerprint})
    model.add_flavor("pytorch", model_data="data/graph", pytorch_version=str(torch.__version__), code=None)
    with tempfile.TemporaryDirectory(prefix="sjko-") as temporary:
        data = Path(temporary) / "graph"
        data.mkdir()
        export(generator, data / sjko_sampler.GRAPH, "pt2")
        condition = generator.endpoints.condition
        described = {"width": example.shape[1], "what": bundle.input_of(generator)}
        if condition is not None and condition.classes:
            described["num_classes"] = condition.num_classes
        (data / sjko_sampler.INPUT).write_text(json.dumps(described))
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=sjko_sampler.__name__.rpartition(".")[2],
            data_path=str(data),
            code_paths=[sjko_sampler.__file__],
            mlflow_model=model,
            signature=ModelSignature(outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *generator.endpoints.shape))])),
            input_example=example,
            pip_requirements=[f"{name}=={pinned[name].partition('+')[0]}" for name in REQUIREMENTS],
        )
