"""Record what a virtual machine or an image is asked to do, and learn from snapshots that exist."""
