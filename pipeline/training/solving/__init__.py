"""From a phase, which is a value, to the objects of `components` that solve it: setting, state, problem, batches, steps."""
