"""How much pooled vectors change when the image is moved by a few pixels."""
