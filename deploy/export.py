"""A generator as one file for other runtimes."""

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from deploy.versions.graph import GeneratorGraph, example_of
from pipeline.files import write_bytes
from pipeline.generator import Generator


def export(generator: Generator, path: Path, name: str) -> None:
    """Write the graph noise -> samples of a generator to a file, with a free batch size, whole or not at all.

    Args:
        name: `pt2` for torch.export's format, or `onnx`.
    """
    graph, example = GeneratorGraph(generator).eval(), torch.from_numpy(example_of(generator))
    write_bytes(path, FORMATS[name](graph, example))


def _pt2(graph: GeneratorGraph, example: torch.Tensor) -> bytes:
    content = io.BytesIO()
    program = torch.export.export(graph, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    torch.export.save(program, content)
    return content.getvalue()


def _onnx(graph: GeneratorGraph, example: torch.Tensor) -> bytes:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(
            graph,
            (example,),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=["noise"],
            output_names=["samples"],
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


FORMATS: dict[str, Callable[[GeneratorGraph, torch.Tensor], bytes]] = {"pt2": _pt2, "onnx": _onnx}
