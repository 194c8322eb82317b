"""Train a flow in a Ray cluster that this program has started, or has joined.

python examples/own_ray_cluster/flow_in_my_cluster.py
"""

import sys

import numpy as np
import ray

from sjko import Cluster, Flow, Jko, Network, Recipe, Training


def main(num_steps: int = 300) -> None:
    """Fit a flow to rows in memory on two workers, and look at it."""
    # A Ray of its own, whatever else runs here; ray.init(address="auto") joins a cluster that runs, whose nodes have sjko.
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    recipe = Recipe(
        network=Network(width=32, depth=2, num_frequencies=8),
        jko=Jko(num_phases=2, h=1.0),
        training=Training(num_steps=num_steps, batch_size=128),
    )
    flow = Flow(recipe, name="ring").fit(ring, store=True, cluster=Cluster(num_workers=2, phases_per_job=2))
    samples = flow.sample(500, seed=0)
    print(f"{flow!r}: radius {np.linalg.norm(samples, axis=1).mean():.2f}")
    print(f"python -m pipeline show {flow.phases[-1].fingerprint}")
    ray.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
