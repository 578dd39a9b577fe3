"""Train a backbone on a task that depends on position: saliency or segmentation."""
