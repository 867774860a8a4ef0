"""Parts of every page: the components that live in the browser, and the words of states."""
