"""A generator as one file for other runtimes."""

import logging
import uuid
import warnings
from pathlib import Path

import torch

from deploy.bundle import Sampler, example_of
from pipeline.evaluate import Generator


def export(generator: Generator, path: Path, name: str) -> None:
    """Write noise -> samples with a free batch size as torch.export's pt2 or as ONNX, whole or not at all."""
    sampler, example = Sampler(generator).eval(), torch.from_numpy(example_of(generator))
    temporary = path.with_name(f".partial-{uuid.uuid4().hex}-{path.name}")  # its own: another process may export as well
    try:
        if name == "pt2":
            torch.export.save(
                torch.export.export(sampler, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},)), temporary
            )
        else:
            _onnx(sampler, example, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _onnx(sampler: Sampler, example: torch.Tensor, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        torch.onnx.export(
            sampler,
            (example,),
            path,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=["noise"],
            output_names=["samples"],
            external_data=False,
            verbose=False,
        )
