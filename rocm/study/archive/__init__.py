"""A study that leaves or comes: zips, exports, the bin, and whether it is whole."""
