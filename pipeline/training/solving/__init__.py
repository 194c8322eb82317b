"""From a phase, which is a value, to the objects of `components` that solve it: setting, first state, problem, batches."""
