"""What snapsim's speed is measured with: `make bench`, or `python -m benchmarks.run`."""
