"""The mathematics and the networks of S-JKO: plain torch and numpy, no Ray, no MLflow."""
