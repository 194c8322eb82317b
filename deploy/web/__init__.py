"""The HTTP side of the service: the door, bodies, documents, formats. Nothing of Ray, but what its proxies are told."""
