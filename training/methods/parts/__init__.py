"""Building blocks used by more than one paper, one self-contained file each."""
