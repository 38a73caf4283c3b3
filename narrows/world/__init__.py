"""Generated data of any size with known truth: the equations stand in docs/world.md."""
