"""The block engine: arrays in, arrays out.

`lifetimes` counts block versions by birth and death, `space` turns the counts into bytes, `chain` carries a
volume and its snapshots through any order of operations; `reference` and `reference_chain` say the same
slowly and readably.
"""
