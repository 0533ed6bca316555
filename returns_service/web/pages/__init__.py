"""HTML for people: server-rendered, usable without JavaScript, one file a page."""
