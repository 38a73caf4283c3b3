"""The lists of users: shown, explained, taken down."""
