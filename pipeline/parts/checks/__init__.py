"""What is tried of a part before a flow relies on it: `check-part` shows all, `run`, `tune run`, `submit` refuse what fails."""
