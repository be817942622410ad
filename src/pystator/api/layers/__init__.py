"""What a request passes before a route, and an answer after it: ASGI middlewares."""
