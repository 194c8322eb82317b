"""The examples in docstrings are true, and what users of Python call has one."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("components", "pipeline", "tune", "deploy", "sjko", "benchmarks")
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text() and path.name != "__main__.py"
)
ENTRIES = """
benchmarks.gaussian: moments_of
benchmarks.rows: Pivot
benchmarks.variants: Switches
components.costs: Cost transport_cost
components.divergences.base: Divergence FDivergence
components.measures: Measure Modes gaussian
components.metrics: mmd2 sliced_w2 w2
components.networks.pair: NetworkPair NetworkSpec
components.parts.loading: pinned
components.parts.naming: Part is_own
components.semidual: Objective gradient_penalty map_loss potential_loss
components.state: State
components.streams: normal stream
components.table: cost divergence network_pair
deploy.access: check_ports hosts_of is_loopback
deploy.answers: Settings
deploy.cli: require_alias
deploy.flags: model_and_version
deploy.flavour.sjko_sampler: Sampler
deploy.models: Draw
deploy.rules: Rule
deploy.versions.registered: Version
deploy.versions.registry: Registry
deploy.web.door: Access
deploy.web.refusals: Rejected
deploy.web.wire: encode format_of
pipeline.cluster: Cluster Stores tracking_uri
pipeline.command.parsing: parse
pipeline.command.process: exit_code
pipeline.command.program: Later Program
pipeline.data.analytic: Analytic MeasureSpec
pipeline.data.endpoints: Endpoints between load_endpoints
pipeline.data.given.coordinates: Coordinates
pipeline.data.given.outside: Reach
pipeline.data.images.image_set: image_sets
pipeline.data.images.images: Images
pipeline.data.own: as_source
pipeline.data.joint: Conditioned JointRows
pipeline.data.parts: packed
pipeline.data.points: Points
pipeline.data.source: At moments_of
pipeline.data.specs: condition_of sample_shape spec_of
pipeline.data.table: names
pipeline.data.tables.encoding: Encoding
pipeline.data.tables.inference: infer
pipeline.data.tables.schema: Column Schema
pipeline.errors: FlowError
pipeline.data.tables.texts.delimited: read
pipeline.data.tables.naming: ending_of is_location
pipeline.data.tables.passes.split: ByHash hashes
pipeline.data.tables.preparing: prepared
pipeline.data.tables.reading: read
pipeline.evaluation.extractors: Extractor quantised
pipeline.evaluation.networks.lenet: LeNet
pipeline.evaluation.metrics: Metric figures floor_of
pipeline.evaluation.size: Evaluation EvaluationSize
pipeline.generator: Generator blocks rows_per_part
pipeline.parts.pinning: own_parts
pipeline.phase: Phase phases_of
pipeline.recipe: Data Jko Network Recipe Training
pipeline.recipes.loading: load_recipe
pipeline.recipes.resolution: filled
pipeline.recipes.values: Refused
pipeline.store.maps: MapRef
pipeline.store.phases: Store
pipeline.training.solving.setting: Setting
pipeline.training.flow: run_flow
pipeline.training.loop: train_flow
pipeline.training.ranks: Share
pipeline.words: command_line literal
sjko.data.conditions: arranged each_of name_of read
sjko.data.given: rows_of
sjko.data.joined: joined_of
sjko.flow: Flow
sjko.trained: TrainedPhase
tune.cli: resume_words
tune.definition: Search Trial
tune.flags: optuna_url
tune.metrics: mode_of
tune.space: Axis applied full_name rebuilt take_axes
tune.studies: distribution
tune.summary: overlaps
"""
"""What a user of Python calls, by module."""
NAMED = [(module, name) for module, _, names in (line.partition(": ") for line in ENTRIES.split("\n")) for name in names.split()]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
@pytest.mark.usefixtures("home")
def test_examples_are_true(module: str) -> None:
    loaded = importlib.import_module(module)
    results = doctest.testmod(loaded, optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    written = (ROOT / f"{module.replace('.', '/')}.py").read_text().count(">>> ")
    assert results.attempted == written, "an example stands where doctest does not look"
    assert results.failed == 0


@pytest.mark.parametrize(("module", "name"), NAMED, ids=lambda value: value)
def test_what_users_call_has_an_example(module: str, name: str) -> None:
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    (documented,) = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name]
    assert ">>> " in (ast.get_docstring(documented) or ""), f"{name} in {module} has no example"
