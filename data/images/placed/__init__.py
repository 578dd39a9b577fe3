"""Patches laid on canvases: the images of placed studies."""
