"""Training a flow: from the chain of phases to a Ray Train worker's steps."""
