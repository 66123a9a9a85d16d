"""Procedural street scenes: layout, geometry, textures and looks, in numpy and OpenCV."""
