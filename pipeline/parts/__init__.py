"""Parts of a flow from outside this repository: their place in a recipe, their checks, their way to other processes."""
