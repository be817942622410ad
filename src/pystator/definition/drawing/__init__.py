"""A machine as a picture: one chart, several languages to draw it in."""
