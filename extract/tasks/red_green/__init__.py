"""Table 1 of Kayhan and van Gemert (CVPR 2020): red left of green, or green left of red."""
