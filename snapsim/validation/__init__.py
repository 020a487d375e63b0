"""The same operations on real systems and in the simulator, side by side."""
