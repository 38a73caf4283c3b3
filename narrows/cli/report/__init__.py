"""What a run did: its record, the screen of text, the page."""
