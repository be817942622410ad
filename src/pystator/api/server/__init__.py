"""The processes and connections that the application is served with."""
