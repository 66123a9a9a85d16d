"""The framework-free viewer, fed by a bundle of `sim2street.app.content.panes`, and the report that contains it."""
