"""The block engine: arrays in, arrays out.

`lifetimes` counts block versions by birth and death, `space` turns the counts into bytes, `reference` says
the
same slowly and readably.
"""
