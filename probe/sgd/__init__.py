"""Many heads trained together by gradient descent: the bank."""
