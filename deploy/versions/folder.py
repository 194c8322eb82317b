"""The folder of a version: our own files, a card, a picture, and a model of MLflow's that loads without this project."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from deploy.export import export
from deploy.flavour import sjko_rows, sjko_sampler
from deploy.versions import bundle, points, table
from deploy.versions.bundle import Lineage
from pipeline.generator import Generator
from pipeline.provenance import versions

REQUIREMENTS = ("mlflow", "torch", "numpy")


def write_folder(folder: Path, card: str, generator: Generator, metrics: Mapping[str, float], lineage: Lineage) -> None:
    """Write all files of a version: MLflow's model, the card, a picture of samples, and our own part."""
    _write_flavour(folder, generator)
    (folder / "README.md").write_text(card)
    _draw_samples(folder / "samples.png", generator)
    bundle.write(folder, generator, metrics, lineage)


def _write_flavour(folder: Path, generator: Generator) -> None:
    """Write a model of MLflow's that loads where this project is not installed: an exported graph, and the file that feeds it.

    Its signature says what comes out and which parameters there are. It says nothing of points that go in. MLflow would
    refuse arrays of another type then, or leave columns out without a word, before that file sees them. Rows of a table
    go by their names: those it has.
    """
    pinned = versions()
    model = Model(metadata={"sjko.fingerprint": generator.phase.fingerprint})
    model.add_flavor("pytorch", model_data="data/graph", pytorch_version=str(torch.__version__), code=None)
    with tempfile.TemporaryDirectory(prefix="sjko-") as temporary:
        data, code = Path(temporary) / "graph", Path(temporary) / "code"
        data.mkdir()
        export(generator, data / sjko_sampler.GRAPH, "pt2")
        about, coding = points.described(generator), generator.endpoints.coding
        paths, requirements = [sjko_sampler.__file__], [f"{name}=={pinned[name].partition('+')[0]}" for name in REQUIREMENTS]
        inputs, outputs = None, Schema([TensorSpec(np.dtype(np.float32), (-1, *generator.endpoints.shape))])
        example: Any = points.points_of(generator)
        if coding is not None:
            name = table.write(code, data, coding)
            about["rows"] = table.described(generator, name)
            paths += [sjko_rows.__file__, str(code / name)]
            requirements += table.requirements()
            outputs = table.outputs(coding)
            if generator.endpoints.starts_from_rows:
                inputs, example = table.inputs(coding), table.example(coding)
        (data / sjko_sampler.INPUT).write_text(json.dumps(about))
        np.savez(data / sjko_sampler.ARRAYS, allow_pickle=False, **points.source_arrays(generator))
        parameters = ParamSchema([ParamSpec("seed", "long", 0), ParamSpec("condition", "string", "")])
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=sjko_sampler.__name__.rpartition(".")[2],
            data_path=str(data),
            code_paths=paths,
            mlflow_model=model,
            signature=ModelSignature(inputs=inputs, outputs=outputs, params=parameters),
            input_example=example,
            pip_requirements=requirements,
        )


def _draw_samples(path: Path, generator: Generator) -> None:
    """Draw a picture of a generator's samples over held-out data."""
    from pipeline.evaluation.judging import draw_samples  # and with it what measures, which a replica need not

    draw_samples(path, generator, f"T_{generator.phase.k}")
