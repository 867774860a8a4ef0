"""The pages in the browser: they show what `labeler.service` knows, and hold no logic of their own."""
