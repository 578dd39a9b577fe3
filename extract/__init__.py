"""Run a frozen backbone once over every image and keep its levels in a feature cache."""
