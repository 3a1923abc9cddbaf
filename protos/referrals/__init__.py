"""Contracts of one service."""
