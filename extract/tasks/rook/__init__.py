"""Figure 1 of Kayhan and van Gemert (CVPR 2020): one convolution tells two places apart."""
