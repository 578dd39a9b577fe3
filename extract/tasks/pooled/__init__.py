"""Small networks with global pooling (Islam et al., ICCV 2021): place, class and small shifts."""
