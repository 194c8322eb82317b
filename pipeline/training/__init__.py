"""Training a flow: from a resolved recipe to published maps. The path of it, and of the phases that it becomes, file by file:

1. `flow.run_flow` makes the phases of the recipe (`pipeline.phase`). `group.ensure_published` finds those of a job that are in
   the store (`pipeline.store.maps`), and claims the others (`pipeline.store.claims`).
2. `jobs.run_job` sends the claimed ones, as they are, to the workers of one Ray Train job.
3. `worker.train_job` makes what all of them need, once: endpoints, sizes of networks, device, share (`solving.setting`);
   `worker.train_phases` takes them one after the other.
4. `loop.train_flow` turns to each. `solving` makes of it, in this order, its state (`start`), what it is trained by (`problem`),
   its batches (`batches`), and the losses of its steps (`steps`). This part needs neither Ray nor a store.
5. `windows` averages these losses; `checkpoints` keeps the state meanwhile.
6. `publisher` gives the curves to the store, and T_k while the loop turns to the next phase.
"""
