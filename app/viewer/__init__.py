"""The framework-free viewer, fed by a bundle of `app.panels`, and the report that holds it."""
