"""The co-design lab: when a stage, a training scheme or a unit of compute pays."""
