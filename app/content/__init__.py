"""The content of the pages as plain values, pictures and figures. Imports no UI library."""
