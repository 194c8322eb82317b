"""Published phases: the claims, the runs and the artifacts of MLflow that hold them."""
