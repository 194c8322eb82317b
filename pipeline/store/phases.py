"""The store of flows and phases.

A flow is an MLflow run; each phase that it trains is a run below it, whose map is published there (`maps`).
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.errors import AmbiguousReference, MapNotFound
from pipeline.phase import Phase
from pipeline.provenance import redacted
from pipeline.store.maps import FINGERPRINT, FOLDER, KIND, MapRef, Maps
from pipeline.store.runs import PARENT, VERSION, Run

OWNER = "sjko.owner"


def bare(reference: str) -> str:
    """Take off a reference what MLflow's URIs have around it; left is a run id, or the beginning of a fingerprint."""
    return reference.removeprefix("runs:/").removesuffix(f"/{FOLDER}")


class Store(Maps):
    """The store of flows and phases: one MLflow experiment, in which each flow and each phase is a run.

    Example:
        >>> from pipeline.cluster import Cluster, tracking_uri
        >>> store = Store(tracking_uri(Cluster()))
        >>> store.flows()
        []
    """

    def flows(self) -> list[Run]:
        """List the runs of all flows, newest first."""
        return self.select(f"tags.`{KIND}` = 'flow'")

    def flows_with(self, field: str, beginning: str) -> list[Run]:
        """List the runs of the flows whose recipe has a value with this beginning in a field, newest first."""
        return self.select(f"tags.`{KIND}` = 'flow' and params.`{field}` LIKE '{beginning}%'")

    def open_flow(self, name: str, fingerprint: str, recipe: Mapping[str, Any]) -> str:
        """Open the run of a flow: the one that exists for this fingerprint, once more, or a new one."""
        for run in self.runs_of(fingerprint, "flow"):
            self.set_status(run.info.run_id, "RUNNING")
            return str(run.info.run_id)
        return self.create(name, {FINGERPRINT: fingerprint, KIND: "flow", "sjko.recipe": name}, recipe)

    def create_phase_run(self, phase: Phase, flow_run_id: str, owner: str) -> str:
        """Create a run for a phase, below that of its flow."""
        tags = {FINGERPRINT: phase.fingerprint, KIND: "phase", "sjko.k": str(phase.k), OWNER: owner}
        return self.create(f"phase {phase.k}", tags, phase.values(), parent=flow_run_id)

    def flow_run_id(self, fingerprint: str) -> str:
        """Find the run of the flow that ends with the phase of a fingerprint."""
        return str(self.runs_of(fingerprint, "flow")[0].info.run_id)

    def flow_behind(self, reference: str, ref: MapRef) -> str:
        """Find the run that a reference to a map means: that of a flow where it names one, else one that ends with the map.

        A phase that two flows share hangs below the one that trained it, which may go on or belong to a search.
        """
        named = [run for run in self.select(f"attributes.run_id = '{bare(reference)}'") if run.data.tags.get(KIND) != "phase"]
        for run in named or self.runs_of(ref.fingerprint, "flow"):
            return str(run.info.run_id)
        return str(self.run(ref.run_id).data.tags.get(PARENT, ref.run_id))

    def resolve(self, reference: str) -> MapRef:
        """Find a map by what a person writes: runs:/ID/phase, a run id, the first eight or more characters of a fingerprint, or a
        registered version, NAME@ALIAS, NAME@NUMBER or the URI that MLflow has for it.

        A flow's run stands for its last phase.
        """
        if (version := VERSION.fullmatch(reference)) is not None:
            return self.published(self._of_version(*version.groups()))
        name = bare(reference)
        if not re.fullmatch(r"[0-9a-f]{8,32}", name):
            raise MapNotFound(
                f"{reference!r} is no reference: write runs:/ID/{FOLDER}, a run id, a fingerprint (eight or more characters) or "
                "the version of a model, NAME@ALIAS"
            )
        conditions = (f"attributes.run_id = '{name}'", f"tags.`{FINGERPRINT}` LIKE '{name}%'")
        runs = self.select(conditions[0]) or self.select(conditions[1])
        if not runs:
            for run in self.deleted(conditions[0]) or self.deleted(conditions[1]):
                raise MapNotFound(f"{reference} {self.restoring(run)}")
            raise MapNotFound(f"{reference} is not in the store at {redacted(self.uri)}; see python -m pipeline list")
        if len(distinct := {run.data.tags.get(FINGERPRINT, "") for run in runs}) > 1:
            raise AmbiguousReference(
                f"{reference} fits {len(distinct)} fingerprints: {', '.join(sorted(distinct))}; write more of it"
            )
        if not (fingerprint := distinct.pop()):
            kind = runs[0].data.tags.get(KIND, "run of another program")
            raise MapNotFound(f"{reference} is a {kind} and holds no map; see python -m pipeline list")
        return self.published(fingerprint)

    def _of_version(self, name: str, which: str) -> str:
        """Read which map a registered version holds."""
        tags = self.version_tags(name, which)
        if tags is None:
            raise MapNotFound(f"{name}@{which} is not in the registry at {redacted(self.uri)}")
        if FINGERPRINT not in tags:
            raise MapNotFound(f"{name}@{which} is another program's: it was not made by python -m deploy register")
        return tags[FINGERPRINT]
