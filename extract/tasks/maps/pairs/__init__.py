"""Images with their masks: generated, in folders, or PASCAL VOC 2012; and batches of them."""
