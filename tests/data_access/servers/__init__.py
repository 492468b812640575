"""Servers on loopback that speak as the archives do."""
