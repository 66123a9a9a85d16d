"""Storage: checkpoints, the catalog, downloads from the Hub, caches and the Spacefile."""
