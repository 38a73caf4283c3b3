"""What is wrong with what the lab is given."""


class CodesignError(ValueError):
    """An experiment, a log or a table of prices that cannot be used: the message says what to do."""
