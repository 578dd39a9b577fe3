"""The one exception a user is meant to read."""


class UserError(ValueError):
    """Something the user can mend: one line with the value, the reason and the remedy.

    The commands print it on stderr and end with exit code 1, without a traceback.
    """
