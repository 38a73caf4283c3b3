"""What a TOML file or the environment says, made into checked values."""
