"""Tests of non-interference and agreement as properties of random meshes and statements."""
