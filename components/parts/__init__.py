"""Parts by name: how `my_parts:alpha(alpha=0.5)@1f2e3d4c5b6a` is written, which code that is, and how it becomes an object."""
