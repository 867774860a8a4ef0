"""The pages in the browser. They show the state of `labeler.service` and contain no logic of their own."""
