"""A generator as one file for other runtimes: torch.export's pt2, or ONNX."""

import importlib.util
from pathlib import Path
from typing import Literal

import torch

from deploy.bundle import Sampler, example_of
from pipeline.evaluate import Generator


def export(generator: Generator, file_format: Literal["pt2", "onnx"], path: Path) -> None:
    """Write noise -> samples with a free batch size, whole or not at all.

    Raises:
        ValueError: ONNX was asked for and its exporter is not installed.
    """
    sampler, example = Sampler(generator).eval(), torch.from_numpy(example_of(generator))
    batch = {0: torch.export.Dim("n", min=1)}
    temporary = path.with_name(f".partial-{path.name}")
    if file_format == "pt2":
        torch.export.save(torch.export.export(sampler, (example,), dynamic_shapes=(batch,)), temporary)
    else:
        if importlib.util.find_spec("onnxscript") is None:
            raise ValueError("--format onnx needs the package onnxscript: pip install onnx onnxscript")
        program = torch.onnx.export(
            sampler,
            (example,),
            dynamo=True,
            dynamic_shapes=(batch,),
            input_names=["noise"],
            output_names=["samples"],
            verbose=False,
        )
        assert program is not None
        program.save(str(temporary))
    temporary.replace(path)
