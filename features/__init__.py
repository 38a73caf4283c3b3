"""Feature definitions: one pure function a feature, named after the column it makes; its docstring is its definition."""
