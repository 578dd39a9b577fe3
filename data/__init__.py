"""Images, position maps, protocols and the feature cache: what every stage shares."""
