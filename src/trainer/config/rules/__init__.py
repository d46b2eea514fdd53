"""Rules for the keys of `train`: numbers, names, combinations, keys without effect, packages. Import no torch."""
