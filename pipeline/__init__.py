"""One flow: recipe in, K Ray Train jobs, T_K and its pictures in MLflow."""
