"""The pages in the browser. They show what `labeler.service` knows and contain no logic of their own."""
