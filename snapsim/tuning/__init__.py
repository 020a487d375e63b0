"""Which policy to take: what is the least that any could need, and how far apart its recovery points are."""
