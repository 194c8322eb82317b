"""The flow, as a user of Python holds it: fitted to data, sampled, applied to points, registered."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from components.parts.loading import IN_MEMORY
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.data import rows
from pipeline.errors import Unusable
from pipeline.parts.checks.of_recipe import require_working
from pipeline.parts.pinning import parts_in_memory
from pipeline.recipe import Recipe
from pipeline.recipes.loading import load_recipe
from pipeline.recipes.rules import validate
from pipeline.training.flow import require_shares
from sjko import page, parts, versions
from sjko.data.bound import BoundRecipe, Start
from sjko.data.given import whole
from sjko.ends import end_of
from sjko.fitted import Fitted
from sjko.recipes import checked, default_recipe
from sjko.storing import HERE, require_storable, store_of
from sjko.trained import TrainedPhase
from sjko.training import in_float32


class Flow:
    """A flow of JKO steps from a source to data: fit it, draw samples, apply its map to points.

    Example:
        >>> import numpy as np
        >>> from sjko import Flow, Jko, Recipe, Training
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> flow = Flow(Recipe(jko=Jko(num_phases=1), training=Training(num_steps=5, batch_size=16))).fit(x)
        >>> flow.sample(4, seed=1).shape, flow.transport(x[:2]).shape
        ((4, 3), (2, 3))

    Args:
        recipe: everything that decides what is computed; None: the settings of the shipped recipe `table`, or `Recipe()` where a
            divergence, a cost or a network is given.
        divergence, source_divergence, cost, network: parts in place of those that the recipe names: an object, a class or a name.
            One that cannot be imported by name (a lambda, a class in a notebook) makes a flow that can be trained and used, but
            not stored.
        metrics: metrics of your own beside those of the data: each a `Metric`, what makes one, or its name.
        source: where the flow starts: a name such as "normal" or "moons", data as `fit` takes them (a table is coded as x is), or
            a `Source`.
        name: what lists of flows call it.

    Raises:
        ValueError: a field of the recipe, or a part, cannot be what it is.
    """

    def __init__(
        self,
        recipe: Recipe | None = None,
        *,
        divergence: Any = None,
        source_divergence: Any = None,
        cost: Any = None,
        network: Any = None,
        source: Any = None,
        metrics: Any = (),
        name: str = "flow",
    ) -> None:
        given = {
            "jko.divergence": divergence,
            "jko.source_divergence": source_divergence,
            "jko.cost": cost,
            "network.kind": network,
        }
        start = Start.of(source)
        given["data.source"] = start.name
        named = {field: part for field, part in given.items() if part is not None}
        self._bound = BoundRecipe.of(checked(default_recipe(named) if recipe is None else recipe, named), start)
        self._metrics = parts.names_of_metrics(metrics)
        self._fitted = Fitted(self._metrics)
        self._asked = self.recipe.data.condition
        self.name = name
        self._lock = threading.RLock()

    @classmethod
    def from_yaml(cls, name_or_path: str | os.PathLike[str], **fields: Any) -> Self:
        """Make a flow of a shipped recipe, by its name, or of a YAML file, by its path.

        Example:
            >>> Flow.from_yaml("two_circles", jko__h=0.5, seed=3).recipe.jko.h
            0.5

        Args:
            fields: fields of the recipe that replace its own, such as `jko__h=0.5`, and parts as the class takes them.

        Raises:
            ValueError: there is no such recipe or field, or the recipe is not valid.
        """
        taken = ("divergence", "source_divergence", "cost", "network", "source", "metrics", "name")
        arguments = {name: fields.pop(name) for name in taken if name in fields}
        path = os.fspath(name_or_path)
        return cls(load_recipe(path, **fields), **{"name": Path(path).stem, **arguments})

    @classmethod
    def load(cls, uri: str, *, store: Any = HERE, allow_code: bool = False) -> Self:
        """Load a registered version, to draw from it: the numbers are those that the service gives for a seed.

        Args:
            uri: "models:/NAME@ALIAS" or "models:/NAME/NUMBER".
            store: MLflow's tracking URI or a `Store`; True: the store that the commands use here.
            allow_code: run the code of own parts that the version carries or names.

        Raises:
            VersionNotFound: there is no such version.
            StoreNotFound: the store is a database that is not there.
            CodeRefused: the version has own parts, and that was not allowed.
            Corrupt: a file of the version is not what was registered.
        """
        opened = store_of(store, create=False)
        with in_float32():
            loaded = versions.load(opened, uri, allow_code=allow_code)
        flow = cls(loaded.recipe, name=loaded.name)
        flow._fitted.phases, flow._fitted.uri = loaded.phases, opened.uri
        return flow

    @property
    def recipe(self) -> Recipe:
        """Give the recipe with all of its parts by name; after `fit(x)` its target is the name of x."""
        return self._bound.recipe

    @property
    def phases(self) -> list[TrainedPhase]:
        """List the phases that are finished, in order: after Ctrl-C fewer than the recipe has."""
        return list(self._fitted.phases)

    def fit(
        self,
        x: Any = None,
        y: None = None,
        *,
        condition: Any = None,
        held_out: Any = None,
        store: Any = None,
        cluster: Cluster | None = None,
        progress: bool = True,
    ) -> Self:
        """Train every phase that is not there yet, to data or to the target that the recipe names.

        The same call goes on after Ctrl-C or an error, from the phase after the last finished one. Random numbers depend on the
        recipe's seed alone, so that equal calls give equal flows.

        Whatever has columns is a table: its numbers, words, dates and missing values are coded as `python -m pipeline schema`
        shows, and samples are rows with its columns and types. An array is points, which are trained on as they are, in
        float32, with one scale for all coordinates, unless `data.standardise` is `axes` (each its own) or `whitened`
        (uncorrelated too). A warning names coordinates whose deviations differ by more than 10 times, or whose values float32
        cannot tell apart: divide each by its deviation, or subtract its mean, first.

        Args:
            x: a table, points or images. A table is a frame of pandas or polars, a table of pyarrow, a `ray.data.Dataset`, or
                the path or URL of a file (parquet, csv, ...). Points (n, d), and images (n, channels, side, side) in [-1, 1],
                are an array, list, tensor, torch Dataset, or the path or URL of a file (npy). None: the data of the last `fit`,
                or else those of the recipe.
            y: nothing but None, which scikit-learn's pipelines give; labels have a name here, `fit(x, condition=labels)`.
            condition: of each row, for a conditional flow. The name of a column of x, which is then taken out of it, or several
                of numbers. For a torch Dataset of pairs, a name for their second part. Else one for each row. Whole numbers (of a
                table, up to 50 different ones), words and booleans are classes; numbers with a fraction and rows of numbers are
                values, in any units. Of other data, the name of one that they offer. None: what the recipe says.
            held_out: rows to compare samples with; None: one row in five, by a hash of each. Where conditions are given beside x,
                a pair: (rows, conditions).
            store: MLflow's tracking URI, or a `Store`: the flow is then that of `python -m pipeline run`, with the same
                fingerprints, kept there and resumed from there; True: the store that the commands use here. None: trains in this
                process, and keeps nothing.
            cluster: workers and how they compute; workers need a store.
            progress: show a bar, on a terminal or in a notebook.

        Returns:
            The flow itself.

        Raises:
            ValueError: the data, the recipe or a part cannot be used; says what and where.
            FlowError: what went wrong in training, such as `Diverged`. Finished phases stay.
        """
        if y is not None:
            raise ValueError("labels are given by name: fit(x, condition=y)")
        cluster = Cluster() if cluster is None else cluster
        if not isinstance(cluster, Cluster):
            raise ValueError(f"cluster must be a Cluster, not a {type(cluster).__name__}")
        clusters.validate(cluster)
        for name, of_x in (("held_out", held_out), ("condition", condition)):
            if x is None and of_x is not None:
                raise ValueError(f"{name} is of x, which is not given")
        with self._lock, in_float32():
            before, phases = self._bound, self._fitted.phases
            try:
                if x is not None:
                    asked = self._asked if condition is None else condition
                    end = end_of(x, held_out, "x", before=self.recipe.data.target, condition=asked)
                    self._bound = before.to(end, "x" if held_out is None else "held_out")
                validate(self.recipe)
                self._bound.require_pixels_of_source()
                require_shares(self.recipe, cluster)
                require_working(self.recipe, self._metrics)
                if store is None:
                    self._fitted.fit_here(self._bound, cluster, progress=progress)
                else:
                    self._fitted.fit_in(store_of(store), self._bound, cluster, name=self.name, progress=progress)
            except BaseException:
                if self._fitted.phases is phases:  # nothing has been trained: a mistake changes nothing
                    self._bound = before
                raise
        return self

    def sample(self, n: int, seed: int = 0, condition: object = None) -> Any:
        """Draw n samples of the last finished phase in the data's own units; equal seeds give equal samples.

        Args:
            n: number of samples.
            seed: at least 0.
            condition: where the flow is conditional: a class, or values, for all samples, or one for each of them; None: drawn
                from the data's own distribution.

        Returns:
            float32 of shape (n, d) or (n, channels, side, side); a data frame or table with the columns, types and categories of
            x where the flow was fitted with one.

        Raises:
            Unusable: no phase is finished yet.
        """
        return self._last().sample(n, seed, condition)

    def transport(self, points: Any, seed: int = 0, condition: object = None) -> Any:
        """Apply the map of the last finished phase to given points of the source, in their own units, row by row.

        Args:
            points: as `fit` takes data; where the source is noise, rows of N(0, I), in columns of numbers where they are a table.
            seed: of the latent z, where the networks have one.
            condition: as `sample` takes it; None: where the points have the column that `fit` has taken out, that of each.

        Returns:
            As many samples in the data's own units, in the form of `sample`; a data frame keeps the index of the points.

        Raises:
            Unusable: no phase is finished yet, or the points are not finite or of another shape.
        """
        return self._last().transport(points, seed, condition)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Give the metrics of the last finished phase with their floors, measured when first asked for.

        Raises:
            Unusable: no phase is finished yet, or the data were in the memory of another process.
        """
        return self._last().metrics

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML file that needs nothing beside it: metrics with floors, samples by phase, curves, the recipe.

        Args:
            path: of the file.

        Raises:
            Unusable: no phase is finished yet.
        """
        self._last()
        return page.write(Path(path), self.name, self.recipe, self._fitted.phases)

    def register(self, name: str, *, phase: int | None = None, store: Any = None) -> str:
        """Make a version of a map in MLflow's registry, as @candidate; a flow of this process is published first.

        Args:
            name: of the model.
            phase: number of the phase whose map it is, counted from 0 as in `phases`; None: the last finished one.
            store: MLflow's tracking URI or a `Store`; None: where the flow is, or the store that the commands use here.

        Returns:
            "models:/NAME/NUMBER", which `Flow.load` and `mlflow.pyfunc.load_model` take.

        Raises:
            Unusable: no phase is finished yet.
            ValueError: a part of the flow is in memory only, the name is none, or there is no such phase.
        """
        last = self._last().k
        k = last if phase is None else whole("phase", phase, least=0)
        if k > last:
            raise ValueError(f"phase must be below {last + 1}, the number of finished phases, not {k}")
        opened = store_of(store if store is not None else self._fitted.uri or HERE)
        require_storable("register", self.recipe, self._metrics)
        if rows.are_rows(self.recipe.data.source):
            raise ValueError(
                "register: the source is rows in memory, which a version does not have, so that it could not be drawn from"
            )
        if opened.uri != self._fitted.uri:
            self._fitted.move_to(opened, self._bound, self.name)
        return versions.register(opened, name, self._fitted.phases[k], self._fitted.phases[-1], self._metrics)

    def _last(self) -> TrainedPhase:
        if not self._fitted.phases:
            raise Unusable("the flow has no finished phase yet: call fit first")
        return self._fitted.phases[-1]

    def __repr__(self) -> str:
        recipe = self.recipe
        return (
            f"<Flow {self.name}: {recipe.data.source} to {recipe.data.target}, {recipe.jko.divergence}, "
            f"{len(self._fitted.phases)} of {recipe.jko.num_phases} phases finished>"
        )

    def _repr_html_(self) -> str:
        """Show the flow in a notebook: samples by phase and curves, of the phases that are finished."""
        return page.summary(repr(self), self._fitted.phases)

    def __getstate__(self) -> dict[str, Any]:
        """Give what a copy in another process needs; it can be sampled and fitted, but trains from its first phase on."""
        names = [*parts_in_memory(self.recipe).values(), *self._metrics]
        memory = {name: IN_MEMORY[name] for name in names if name in IN_MEMORY}
        return {**vars(self), "_lock": None, "_memory": memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, part in state.pop("_memory").items():
            IN_MEMORY.setdefault(name, part)
        vars(self).update({**state, "_lock": threading.RLock()})
