"""The acts of the chaos run, one module each; each has a `play` and says how long it expects."""
