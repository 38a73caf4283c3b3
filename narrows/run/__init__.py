"""Running rooms: resolve, fingerprint, fit, transform or narrow, publish."""
