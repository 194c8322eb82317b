"""The commands of `python -m deploy`, after their arguments have been read."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from components.conditions import asked_of
from deploy import flags
from deploy.access import hosts_of, token_of
from deploy.export import export
from deploy.rules import Rule
from deploy.versions.catalogue import K
from deploy.versions.code import needed, require_no_other
from deploy.versions.promotion import promote, rollback
from deploy.versions.registered import Version
from deploy.versions.registry import Registry
from pipeline import cluster as clusters
from pipeline.cluster import Cluster, Stores
from pipeline.command import report
from pipeline.command.listing import open_store
from pipeline.data.given.outside import far_outside
from pipeline.evaluation.remarks import remarks
from pipeline.files import require_writable, write_json
from pipeline.generator import Generator, load_generator
from pipeline.provenance import redacted
from pipeline.words import command_line, counted


def registry_of(stores: Stores, *, allow_code: bool) -> Registry:
    """Open the registry of the MLflow that flags or the environment name."""
    return Registry(open_store(stores), clusters.data(stores), allow_code=allow_code)


def rolled_back(command: flags.Rollback) -> Mapping[str, Any]:
    """Carry out `rollback`: point an alias back at the version that it pointed at before."""
    current, previous = rollback(registry_of(command.store, allow_code=command.allow_code), command.name, command.alias)
    report.line(f"@{command.alias} of {command.name} points at version {previous.number} again, no longer at {current.number}")
    return {"version": previous.number, "instead_of": current.number}


def exported(command: flags.Export) -> Mapping[str, Any]:
    """Carry out `export`: write a version's generator as one file for other runtimes."""
    registry = registry_of(command.store, allow_code=command.allow_code)
    version = registry.require(*flags.model_and_version(command.model))
    require_writable(str(command.to.parent))
    export(registry.load(version), command.to, command.format or command.to.suffix[1:])
    report.line(f"{version} is {command.to}, {command.to.stat().st_size:,} bytes")
    return {"version": version.number, "file": str(command.to)}


def serve(command: flags.Serve) -> NoReturn:
    """Carry out `serve`: answer requests for samples until a signal ends the command."""
    from deploy import serving
    from deploy.answers import Settings

    name, which = flags.model_and_version(command.model)
    store = open_store(command.store)
    images = clusters.data(command.store)
    registry = Registry(store, images, allow_code=command.allow_code)
    version = registry.require(name, which)
    registry.require_allowed(version)
    serving.check_port(command.host, command.port, f"--host {command.host} --port {command.port}")
    if command.metrics_port is not None:
        serving.check_port("127.0.0.1", command.metrics_port, f"--metrics-port {command.metrics_port}")
    token = token_of(command.host, command.token_file)
    min_replicas, max_replicas = command.replicas
    settings = Settings(
        store.uri,
        name,
        which,
        images,
        token,
        hosts_of(command.hosts),
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        allow_code=command.allow_code,
    )
    with serving.running(settings, command.host, command.port, command.cluster.address, command.metrics_port):
        write_json(command.json, {"version": version.number})  # before it is said, and since a signal ends this command
        report.line(f"{version} answers at http://{command.host}:{command.port} (/ draws, /docs explains; Ctrl-C ends it)")
        report.line(f"Prometheus reads {' '.join(serving.metrics_urls())}")
        serving.wait_for_the_end()


def generated(command: flags.Generate) -> Mapping[str, Any]:
    """Carry out `generate`: write the samples that a command asks for as Parquet files."""
    from deploy.bulk.generate import generation_of
    from deploy.bulk.parts import carry_out

    version, generator, asked = asked_for(command)
    plan = generation_of(generator, seed=command.seed, num_samples=command.num_samples, url=command.to, condition=asked)
    workers = command.cluster.num_workers
    require_writable(command.to)
    with ray_of(command.cluster, generator), report.progress("samples") as show:
        for done, total in carry_out(plan, workers):
            show(done * command.num_samples // total, command.num_samples)
    report.line(f"{command.num_samples:,} samples of {version} in {counted(plan.num_parts, 'file')}: {redacted(command.to)}")
    return {"version": version.number, "num_samples": command.num_samples, "files": plan.num_parts}


def transported(command: flags.Transport) -> Mapping[str, Any]:
    """Carry out `transport`: write what a map makes of the points in given files as Parquet files."""
    from deploy.bulk.inputs import inputs_at
    from deploy.bulk.parts import carry_out, finished, manifest_in
    from deploy.bulk.transport import require_points, transport_of

    version, generator, asked = asked_for(command)
    with report.status(f"reading {redacted(command.from_)}"):
        inputs = inputs_at(command.from_)
    plan = transport_of(generator, inputs, seed=command.seed, url=command.to, condition=asked, asked=command.coordinates)
    facts = finished(plan)
    with report.status(f"reading {redacted(command.from_)}"):
        require_points(plan, inputs, [part for part in range(plan.num_parts) if part not in facts])
    require_writable(command.to)
    with ray_of(command.cluster, generator), report.progress("points") as show:
        steps = carry_out(plan, command.cluster.num_workers, lambda part: {"rows": inputs.held(*plan.span(part))}, facts)
        for done, total in steps:
            show(done * plan.num_samples // total, plan.num_samples)
    far = int(manifest_in(plan)["far"])
    report.line(
        f"{plan.num_samples:,} points transported by {version} in {counted(plan.num_parts, 'file')}: {redacted(command.to)}"
    )
    if far:
        report.line(far_outside(far, plan.num_samples))
    return {"version": version.number, "num_samples": plan.num_samples, "files": plan.num_parts, "far": far}


def asked_for(command: flags.Generate | flags.Transport) -> tuple[Version, Generator, str | None]:
    """Load the version that a command asks for, the generator of its phase, and the condition that it asks for.

    Raises:
        ValueError: the version has no such phase, or takes no such condition.
    """
    store = open_store(command.store)
    registry = Registry(store, clusters.data(command.store), allow_code=command.allow_code)
    version = registry.require(*flags.model_and_version(command.model))
    generator = registry.load(version)
    if command.phase is not None:
        runs = registry.lineage(version).phase_run_ids
        if command.phase >= len(runs):
            raise ValueError(f"--phase must be below {len(runs)}, the number of phases of {version}, not {command.phase}")
        ref = store.resolve(runs[command.phase])
        require_no_other(store.phase_of(ref), generator.phase, str(version))
        generator = load_generator(store, ref, generator.endpoints)
    asked = None if command.condition is None else asked_of(generator.endpoints.condition, command.condition)
    return version, generator, asked


@contextmanager
def ray_of(cluster: flags.Workers, generator: Generator) -> Iterator[None]:
    """Hold the Ray that a command runs on, with the parts that the generator needs, for the time of the context."""
    from pipeline.ray_session import connected

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or Ray writes across the bar that actors have arguments
    ray_cluster = Cluster(num_workers=cluster.num_workers, address=cluster.address)
    with connected(ray_cluster, parts=needed(generator.phase).values()):
        yield


def register(command: flags.Register) -> Mapping[str, Any]:
    """Carry out `register`: make a version of the map that a reference names, or point @candidate at the one that has it."""
    store = open_store(command.store)
    registry = Registry(store, clusters.data(command.store))
    last = store.resolve(command.reference)
    if command.phase is not None and command.phase > last.k:
        raise ValueError(f"--phase must be below {last.k + 1}, the number of phases of {command.reference}, not {command.phase}")
    ref = last if command.phase is None else store.ancestors(last)[command.phase]
    version = registry.holding(ref, command.name)
    if version is None:
        version = registry.register(ref, command.name, store.flow_behind(command.reference, last), command.evaluation)
        for other in registry.of_same_flow(version):
            report.line(f"{other} is of the same flow: its T_{other.tags[K]}, where this is T_{ref.k}")
    else:
        report.line(f"{version} holds this very map already, so no other is made; it is @candidate now")
        registry.make_candidate(version)
    metrics = {key.removeprefix("metric."): float(value) for key, value in version.tags.items() if key.startswith("metric.")}
    report.table(f"{version} = {command.name}@candidate", ["metric", "value"], list(metrics.items()))
    report.remarks(remarks(metrics))
    again = command_line("python", "-m", "deploy", "promote", command.name, "--require", "w2 <= 1.0 * champion")
    report.line(f"next: {again}")
    return {"name": command.name, "version": version.number, "metrics": metrics}


def promoted(command: flags.Promote) -> Mapping[str, Any]:
    """Carry out `promote`: measure a version, and point an alias at it where the rule holds."""
    rule = Rule.parse(command.require) if command.require else None
    number = None if command.version is None else str(command.version)
    done = promote(
        registry_of(command.store, allow_code=command.allow_code),
        command.name,
        number,
        command.alias,
        rule,
        size=command.evaluation,
    )
    previous = "unset" if done.before is None else f"version {done.before.number}"
    report.line(f"@{command.alias} of {command.name} points at version {done.version.number}; before: {previous}")
    if rule is not None and done.bound is None:
        report.line(f"there was no @{command.alias} to compare with: {rule.metric} is {done.value:.6g}")
    elif rule is not None:
        report.line(f"{rule.metric} {done.value:.6g} {rule.comparison} {done.bound:.6g}, on fresh samples")
    report.remarks(remarks(done.metrics))
    return {
        "version": done.version.number,
        "before": None if done.before is None else done.before.number,
        "value": done.value,
        "bound": done.bound,
        "metrics": dict(done.metrics),
    }
